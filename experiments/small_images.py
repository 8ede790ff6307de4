"""A folder of photos in small, and a small network for them.

The network is that of small_network.py, for colour images of 16 x 16 pixels, of
which the first convolution makes 8 x 8: an update takes as long as one on
digits.
"""

import functools

import keras
import numpy as np
import tensorflow as tf
from absl import flags
from keras import layers

from experiments import small_network
from trainers import flags as flags_lib
from trainers.errors import UserError
from trainers.image_classification import image_folder

SIZE = 16
BATCH_SIZE = 32


def define_flags(values: flags.FlagValues) -> None:
  """Defines --data and --data_dir, the digits or a folder."""
  flags.DEFINE_enum(
    "data",
    "digits",
    ["digits", "image_folder"],
    "digits of scikit-learn, or a folder of small images.",
    flag_values=values,
  )
  flags_lib.define_path("data_dir", "The folder of images.", values)


def from_flags(values: flags.FlagValues) -> small_network.Task:
  """Returns the images of the flags of `define_flags`, and their network.

  Raises:
    UserError: if the flags do not fit one another, or the folder is no such
      folder.
  """
  if (values.data == "image_folder") != (values.data_dir is not None):
    raise UserError(
      "--data_dir=FOLDER goes with --data=image_folder. Received: --data="
      f"{values.data}, --data_dir={values.data_dir}"
    )
  if values.data == "digits":
    return small_network.digits()
  return load(values.data_dir)


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
