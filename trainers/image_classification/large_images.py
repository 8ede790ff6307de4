"""Large images: shuffled as files are, decoded last, and only where needed.

As for ImageNet: each host reads its own records, which stay encoded while they
are shuffled and skipped.
"""

import ml_collections
import tensorflow as tf

from trainers.image_classification import crops, epochs
from trainers.image_classification.splits import EncodedSplit


def train_batches(
  split: EncodedSplit,
  config: ml_collections.ConfigDict,
  *,
  seed: int,
  global_batch_size: int,
  first_step: int,
  context: tf.distribute.InputContext,
) -> tf.data.Dataset:
  """Returns batches as `input_pipeline.train_batches` does.

  What a step trains on depends on the number of hosts, since each shuffles its
  own part of the records.
  """
  hosts, host = context.num_input_pipelines, context.input_pipeline_id

  def augment(number, record):
    example = split.load(*record)
    # Another one on each host: they count their own records.
    random = tf.stack([tf.cast(seed, tf.int64), number * hosts + host])
    image = crops.random_crop(example.image, split.channels, config, random)
    return image, example.label

  return (
    _train_records(split, config, seed, global_batch_size, first_step, context)
    .map(augment, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    .batch(
      context.get_per_replica_batch_size(global_batch_size),
      drop_remainder=True,
    )
  )


def evaluation_examples(
  split: EncodedSplit,
  config: ml_collections.ConfigDict,
  context: tf.distribute.InputContext,
) -> tf.data.Dataset:
  """Returns this host's examples, as `input_pipeline` wants them."""

  def load(*record):
    example = split.load(*record)
    image = crops.central_crop(example.image, split.channels, config)
    return image, example.label

  records = split.records(
    context.input_pipeline_id, context.num_input_pipelines, None, 1
  )
  return records.map(
    load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
  )


def training_records(
  split: EncodedSplit,
  config: ml_collections.ConfigDict,
  *,
  seed: int,
  global_batch_size: int,
  first_step: int,
  steps: int,
  context: tf.distribute.InputContext,
) -> tf.data.Dataset:
  """Returns the records that `train_batches` gives to so many steps."""
  numbered = _train_records(
    split, config, seed, global_batch_size, first_step, context
  )
  per_step = global_batch_size // context.num_input_pipelines
  # The iterator may be ahead of the steps by what goes to other replicas.
  records = numbered.take((steps + 1) * per_step)
  return records.map(lambda number, record: record)


def _train_records(split, config, seed, global_batch_size, first_step, context):
  """Returns pairs (number, record): what this host trains on from a step on."""
  hosts, host = context.num_input_pipelines, context.input_pipeline_id
  per_step = global_batch_size // hosts

  def read(seed):
    return split.records(host, hosts, seed, config.shuffle_buffer)

  return epochs.endless(
    read,
    seed=seed,
    items_per_epoch=split.size // global_batch_size * per_step,
    first_item=first_step * per_step,
  )
