"""Where images and labels come from."""

import ml_collections
import numpy as np
import tensorflow as tf
from sklearn import datasets, model_selection

from trainers.image_classification import (
  fake_images,
  image_folder,
  tfds_images,
  tfrecords,
)
from trainers.image_classification.splits import Source, Split


def load(
  config: ml_collections.ConfigDict,
  data_dir: str | None,
  fake_data: bool = False,
) -> Source:
  """Returns the source that `config`, a config's `data`, names.

  Args:
    config: Fields `name` ("digits", "image_folder", "tfrecords" or the name of
      a TFDS data set), `train_split` and `validation_split`.
    data_dir: The folder of images or TFRecords, or TFDS's data_dir (None for
      its default).
    fake_data: Whether to make up as much data instead.

  Raises:
    UserError: if there is no such data set, or no data in it.
  """
  splits = config.train_split, config.validation_split
  if fake_data:
    return fake_images.load(config)
  if config.name == "digits":
    return _digits()
  if config.name == "image_folder":
    return image_folder.load(data_dir, *splits)
  if config.name == "tfrecords":
    return tfrecords.load(data_dir, *splits)
  return tfds_images.load(config.name, data_dir, *splits)


def _digits():
  """scikit-learn's 1,797 handwritten digits of 8x8 pixels, 360 to validate."""
  digits = datasets.load_digits()
  images = np.rint(digits.images[..., np.newaxis] * (255 / 16)).astype("uint8")
  labels = digits.target.astype("int32")
  # The same split in every run, whatever its seed.
  train, validation = model_selection.train_test_split(
    np.arange(len(labels)), test_size=360, random_state=0, stratify=labels
  )
  return Source(
    *(
      Split(
        tf.data.Dataset.from_tensor_slices((images[rows], labels[rows])),
        len(rows),
      )
      for rows in (train, validation)
    ),
    class_names=tuple(str(name) for name in digits.target_names),
    channels=1,
  )
