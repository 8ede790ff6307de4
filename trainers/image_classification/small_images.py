"""Small images: decoded once, kept in memory, cropped after padding.

As for CIFAR: all images become squares of one size before they are cached, and
are shuffled and augmented as pixels.
"""

from typing import Any

import ml_collections
import tensorflow as tf

from trainers.image_classification import epochs
from trainers.image_classification.splits import EncodedSplit, Split


def train_batches(
  split: Split | EncodedSplit,
  config: ml_collections.ConfigDict,
  *,
  seed: int,
  global_batch_size: int,
  first_step: int,
  context: tf.distribute.InputContext,
) -> tf.data.Dataset:
  """Returns batches as `input_pipeline.train_batches` does.

  What a step trains on does not depend on the number of hosts: each shuffles
  all examples, and takes its own rows of each global batch.
  """
  examples = _prepared(split.examples, config)

  def epoch_batches(seed):
    shuffled = examples.shuffle(
      min(split.size, config.shuffle_buffer),
      seed=seed,
      reshuffle_each_iteration=False,
    )
    return shuffled.batch(global_batch_size, drop_remainder=True)

  host_rows = _host_rows(global_batch_size, context)

  def augment(step, batch):
    images, labels = batch
    random = tf.stack([tf.cast(seed, tf.int64), step])
    return _augment(images, config, random, host_rows), labels[host_rows]

  return (
    epochs.endless(
      epoch_batches,
      seed=seed,
      items_per_epoch=split.size // global_batch_size,
      first_item=first_step,
    )
    .map(augment, num_parallel_calls=tf.data.AUTOTUNE)
    .rebatch(
      context.get_per_replica_batch_size(global_batch_size),
      drop_remainder=True,
    )
  )


def evaluation_examples(
  split: Split | EncodedSplit,
  config: ml_collections.ConfigDict,
  context: tf.distribute.InputContext,
) -> tf.data.Dataset:
  """Returns this host's examples, as `input_pipeline` wants them."""
  own = split.examples.shard(
    context.num_input_pipelines, context.input_pipeline_id
  )
  return _prepared(own, config)


def training_records(
  split: EncodedSplit, config: ml_collections.ConfigDict, **arguments: Any
) -> tf.data.Dataset:
  """Returns what is read to train on, whatever the steps: all of it."""
  del config, arguments
  return split.records(0, 1, None, 1)


def _prepared(examples, config):
  """Returns the examples resized, and cached unless the config says no."""
  size = config.image_size

  def resize(image, label):
    height, width = tf.shape(image)[0], tf.shape(image)[1]
    if_needed = tf.logical_or(height != size, width != size)
    image = tf.cond(
      if_needed, lambda: _crop_and_resize(image, size), lambda: image
    )
    image.set_shape((size, size, image.shape[-1]))
    return image, tf.cast(label, tf.int32)

  examples = examples.map(resize, num_parallel_calls=tf.data.AUTOTUNE)
  return examples if config.cache is False else examples.cache()


def _crop_and_resize(image, size):
  """Returns the central square of `image`, resized to `size` pixels."""
  side = tf.minimum(tf.shape(image)[0], tf.shape(image)[1])
  square = tf.image.resize_with_crop_or_pad(image, side, side)
  resized = tf.image.resize(square, (size, size), antialias=True)
  return tf.cast(tf.clip_by_value(tf.round(resized), 0, 255), tf.uint8)


def _host_rows(global_batch_size, context):
  """Returns the slice of a global batch that is for this host."""
  size = global_batch_size // context.num_input_pipelines
  return slice(
    context.input_pipeline_id * size, (context.input_pipeline_id + 1) * size
  )


def _augment(images, config, random, rows):
  """Pads and crops at random places, and flips half of the images.

  Args:
    images: A global batch, uint8.
    config: A config's `data`.
    random: Seed, int64 of shape (2,).
    rows: Slice of the images to return.
  """
  batch, size = images.shape[0], images.shape[1]
  images = images[rows]
  # Drawn for the global batch, so that hosts agree whatever their number.
  crop_seed, flip_seed = tf.unstack(
    tf.random.experimental.stateless_split(random, 2)
  )
  padding = config.crop_padding
  if padding:
    images = tf.pad(images, [[0, 0], [padding] * 2, [padding] * 2, [0, 0]])
    offsets = tf.random.stateless_uniform(
      (2, batch, 1), crop_seed, maxval=2 * padding + 1, dtype=tf.int32
    )
    y, x = tf.unstack(offsets[:, rows] + tf.range(size))
    images = tf.gather(images, y, axis=1, batch_dims=1)
    images = tf.gather(images, x, axis=2, batch_dims=1)
  if config.horizontal_flip:
    flip = tf.random.stateless_uniform((batch, 1, 1, 1), flip_seed) < 0.5
    images = tf.where(flip[rows], tf.reverse(images, axis=[2]), images)
  return images
