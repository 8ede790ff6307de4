"""From labelled images to batches for training and evaluation.

There are two kinds of pipelines, of which `data.pipeline` names one:
`small_images.py` and `large_images.py`. Both give whole numbers, a quarter of
the bytes of floats; `normalize` is the first thing that a step does with them.
"""

import ml_collections
import tensorflow as tf

from trainers.errors import UserError
from trainers.image_classification import (
  fake_images,
  large_images,
  small_images,
  unreadable,
)
from trainers.image_classification.splits import EncodedSplit, FakeSplit, Split

_KINDS = {"small_images": small_images, "large_images": large_images}
KINDS = tuple(_KINDS)


def train_batches(
  split: Split | EncodedSplit | FakeSplit,
  config: ml_collections.ConfigDict,
  *,
  seed: int,
  global_batch_size: int,
  first_step: int,
  context: tf.distribute.InputContext,
) -> tf.data.Dataset:
  """Returns shuffled and augmented batches, one for each replica in turn.

  What step i trains on is a function of `seed` and i: the order of an epoch
  comes from its number, augmentation from the step's or the image's. So a
  resumed run sees what it would have seen, and the number of replicas on a host
  changes nothing. Of each global batch every host has its own part.

  Args:
    split: What to train on.
    config: A config's `data`.
    seed: Seed of shuffling and augmentation.
    global_batch_size: Examples in a step; an epoch's remainder is dropped.
    first_step: Step to begin with.
    context: Which host this is of how many, and how many replicas there are.

  Returns:
    Endless pairs (images, labels) for one replica: uint8 of shape (batch,
    image_size, image_size, channels), and int32 of shape (batch,).
  """
  return (
    _kind(split, config)
    .train_batches(
      split,
      config,
      seed=seed,
      global_batch_size=global_batch_size,
      first_step=first_step,
      context=context,
    )
    .prefetch(tf.data.AUTOTUNE)
  )


def evaluation_batches(
  split: Split | EncodedSplit | FakeSplit,
  config: ml_collections.ConfigDict,
  *,
  global_batch_size: int,
  context: tf.distribute.InputContext,
) -> tf.data.Dataset:
  """Returns batches with every example once, one for each replica in turn.

  Batches are of one shape, and each host has as many: the last are filled up
  with black images of weight 0. Every host has examples of its own.

  Args:
    split: What to evaluate on.
    config: A config's `data`.
    global_batch_size: Examples over all replicas.
    context: Which host this is of how many, and how many replicas there are.

  Returns:
    Triples (images, labels, weights) for one replica; images and labels as in
    `train_batches`; weights are float32, 1 for an example and 0 for filling.
  """
  examples = (
    _kind(split, config)
    .evaluation_examples(split, config, context)
    .map(lambda image, label: (image, label, 1.0))
  )
  hosts = context.num_input_pipelines
  batch_size = global_batch_size // hosts
  largest_part = -(-split.size // hosts)
  filling = tf.data.Dataset.from_tensors(
    tuple(tf.zeros(spec.shape, spec.dtype) for spec in examples.element_spec)
  )
  return (
    examples.concatenate(filling.repeat())
    .take(-(-largest_part // batch_size) * batch_size)
    .batch(
      context.get_per_replica_batch_size(global_batch_size),
      drop_remainder=True,
    )
    .prefetch(tf.data.AUTOTUNE)
  )


def normalize(
  images: tf.Tensor, config: ml_collections.ConfigDict
) -> tf.Tensor:
  """Returns uint8 images as float32, scaled to [0, 1], minus mean, over std."""
  images = tf.cast(images, tf.float32) / 255.0
  return (images - tf.constant(config.mean)) / tf.constant(config.std)


def explain_training(
  split: Split | EncodedSplit | FakeSplit,
  config: ml_collections.ConfigDict,
  *,
  seed: int,
  global_batch_size: int,
  first_step: int,
  steps: int,
  context: tf.distribute.InputContext,
) -> UserError | None:
  """Returns what is wrong with an image of so many steps, or None.

  Args:
    split: As in `train_batches`.
    config: As in `train_batches`.
    seed: As in `train_batches`.
    global_batch_size: As in `train_batches`.
    first_step: The first step that an error may be of.
    steps: How many steps it may be of.
    context: As in `train_batches`.
  """
  if not isinstance(split, EncodedSplit):
    return None
  records = _kind(split, config).training_records(
    split,
    config,
    seed=seed,
    global_batch_size=global_batch_size,
    first_step=first_step,
    steps=steps,
    context=context,
  )
  return unreadable.find(split, records)


def explain_evaluation(
  split: Split | EncodedSplit | FakeSplit,
  context: tf.distribute.InputContext,
) -> UserError | None:
  """Returns what is wrong with an image to evaluate on, or None."""
  if not isinstance(split, EncodedSplit):
    return None
  records = split.records(
    context.input_pipeline_id, context.num_input_pipelines, None, 1
  )
  return unreadable.find(split, records)


def _kind(split, config):
  return (
    fake_images if isinstance(split, FakeSplit) else _KINDS[config.pipeline]
  )
