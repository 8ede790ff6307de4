"""A folder of photos in small, and a small network for them.

The network is that of small_network.py, for colour images of 16 x 16 pixels, of
which the first convolution makes 8 x 8: an update takes as long as one on
digits.
"""

import functools

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from experiments import small_network
from trainers.image_classification import image_folder

SIZE = 16
BATCH_SIZE = 32


def load(data_dir: str) -> small_network.Task:
  """Returns the images of a folder, scaled down to `SIZE`, and their network.

  Args:
    data_dir: Holds train/CLASS/*.jpg and validation/CLASS/*.jpg.

  Raises:
    UserError: if the folder does not.
  """
  source = image_folder.load(data_dir, "train", "validation")
  data = small_network.Data(*_read(source.train), *_read(source.validation))
  make = functools.partial(make_model, len(source.class_names))
  return small_network.Task(data, make, BATCH_SIZE)


def _read(split):
  """Returns images, about -2 to 2, and labels of a split, as NumPy arrays."""

  def prepare(image, label):
    small = tf.image.resize(image, (SIZE, SIZE), "area")
    return (small / 255 - 0.5) / 0.25, label

  pairs = split.examples.map(prepare).batch(split.size)
  images, labels = pairs.get_single_element()
  return images.numpy(), labels.numpy().astype(np.int32)


def make_model(classes: int) -> keras.Model:
  """Returns three convolutions, dropout and a linear layer.

  The model takes images (batch, 16, 16, 3) and returns logits (batch, classes).

  Args:
    classes: How many.
  """
  convolution = functools.partial(
    layers.Conv2D, kernel_size=3, padding="same", activation="relu"
  )
  return keras.Sequential(
    [
      keras.Input((SIZE, SIZE, 3)),
      convolution(16, strides=2),
      convolution(32),
      layers.MaxPooling2D(),
      convolution(32),
      layers.Flatten(),
      layers.Dropout(0.3),
      layers.Dense(classes),
    ]
  )
