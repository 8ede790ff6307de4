"""What benchmarks/image_input.py times of ours: datasets of the same files.

All shuffle the files and read each in full. None works ahead beyond its last
batch: what nobody waits for would take cores from what is timed next.
"""

import os

import ml_collections
import tensorflow as tf

from trainers.image_classification import (
  crops,
  decoding,
  image_folder,
  input_pipeline,
  large_images,
)
from trainers.image_classification.splits import EncodedSplit


def load(folder: str) -> EncodedSplit:
  """Returns the images of a folder of class folders."""
  root, name = os.path.split(os.path.abspath(folder))
  return image_folder.load(root, name, name).train


def training(
  split: EncodedSplit,
  config: ml_collections.ConfigDict,
  batch_size: int,
  steps: int,
) -> tf.data.Dataset:
  """Returns the batches that so many training steps get.

  Args:
    split: Whose images.
    config: A config's `data`.
    batch_size: Images in a batch.
    steps: Number of batches.
  """
  batches = large_images.train_batches(
    split,
    config,
    seed=0,
    global_batch_size=batch_size,
    first_step=0,
    context=tf.distribute.InputContext(),
  )
  return batches.take(steps).prefetch(tf.data.AUTOTUNE)


def normalized(
  batches: tf.data.Dataset, config: ml_collections.ConfigDict
) -> tf.data.Dataset:
  """Returns batches whose images are floats, as a step has made them."""
  return batches.map(
    lambda images, labels: (input_pipeline.normalize(images, config), labels),
    num_parallel_calls=tf.data.AUTOTUNE,
  ).prefetch(1)


def crops_alone(
  split: EncodedSplit, batch_size: int, steps: int
) -> tf.data.Dataset:
  """Returns batches of one pixel of each random crop, which is decoded."""

  def decode(number, record):
    seed = tf.stack([tf.constant(0, tf.int64), number])
    uniform = tf.random.stateless_uniform((crops.RANDOM_NUMBERS,), seed)

    def choose(size):
      return crops.random_window(size, uniform, crops.AREA, crops.ASPECT_RATIO)

    image = split.load(*record).image
    window = choose(tf.io.extract_jpeg_shape(image)[:2])
    return tf.image.decode_and_crop_jpeg(image, window, channels=3)[0, 0]

  return _decoded(split, decode, batch_size, steps)


def whole_images_alone(
  split: EncodedSplit, batch_size: int, steps: int
) -> tf.data.Dataset:
  """Returns batches of one pixel of each image, which is decoded whole."""

  def decode(number, record):
    image = split.load(*record).image
    return decoding.decode(image, split.channels)[0, 0]

  return _decoded(split, decode, batch_size, steps)


def _decoded(split, decode, batch_size, steps):
  records = split.records(0, 1, tf.constant(0, tf.int64), 1).repeat()
  return (
    records.enumerate()
    .map(decode, num_parallel_calls=tf.data.AUTOTUNE)
    .batch(batch_size)
    .take(steps)
    .prefetch(tf.data.AUTOTUNE)
  )
