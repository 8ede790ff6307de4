"""Where images and labels come from."""

import dataclasses
from collections.abc import Callable
from typing import Any

import ml_collections
import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from sklearn import datasets, model_selection

from trainers import tfds_builders
from trainers.errors import UserError
from trainers.image_classification import image_folder


@dataclasses.dataclass(frozen=True)
class Split:
  """One part of a data set.

  Attributes:
    examples: Pairs (image, label): uint8 of shape (height, width, channels),
      which may differ between images, and an integer scalar.
    size: Number of examples.
    explain: Returns a UserError that says which file cannot be read, or None.
  """

  examples: tf.data.Dataset
  size: int
  explain: Callable[[], UserError | None] = lambda: None


@dataclasses.dataclass(frozen=True)
class Source:
  """A data set of labelled images.

  Attributes:
    train: The examples to train on, in a fixed order.
    validation: The examples to evaluate on.
    class_names: Names of the labels 0, 1, ...
    channels: Channels of the images, 1 or 3.
  """

  train: Split
  validation: Split
  class_names: tuple[str, ...]
  channels: int

  def describe(self) -> dict[str, Any]:
    """Returns what tells this source from another, JSON-like."""
    return {
      "train_size": self.train.size,
      "validation_size": self.validation.size,
      "class_names": list(self.class_names),
      "channels": self.channels,
    }


def load(config: ml_collections.ConfigDict, data_dir: str | None) -> Source:
  """Returns the source that `config`, a config's `data`, names.

  Args:
    config: Fields `name` ("digits", "image_folder" or the name of a TFDS data
      set), `train_split` and `validation_split`.
    data_dir: The folder of images, or TFDS's data_dir (None for its default).

  Raises:
    UserError: if there is no such data set, or no data in it.
  """
  if config.name == "digits":
    return _digits()
  if config.name == "image_folder":
    return _image_folder(config, data_dir)
  return _tfds(config, data_dir)


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


def _image_folder(config, data_dir):
  builder = image_folder.make_builder(
    data_dir, config.train_split, config.validation_split
  )

  def split(name):
    return Split(
      image_folder.read(builder, name),
      builder.info.splits[name].num_examples,
      lambda: image_folder.explain_unreadable(data_dir, name),
    )

  return Source(
    split(config.train_split),
    split(config.validation_split),
    class_names=tuple(builder.info.features["label"].names),
    channels=3,
  )


def _tfds(config, data_dir):
  builder = tfds_builders.load(
    config.name, data_dir, other_names=("digits", "image_folder")
  )
  features = builder.info.features
  image_key = _only_key(features, tfds.features.Image)
  label_key = _only_key(features, tfds.features.ClassLabel)
  if not image_key or not label_key:
    raise UserError(
      f"data.name={config.name!r} is not an image classification data set: it "
      f"has not one image and one label, but {dict(features.items())}."
    )

  def split(field):
    name = config[field]
    size = tfds_builders.split_size(builder, f"data.{field}", name)
    wanted = tfds.decode.PartialDecoding({image_key: True, label_key: True})
    examples = builder.as_dataset(split=name, decoders=wanted)
    return Split(examples.map(lambda e: (e[image_key], e[label_key])), size)

  return Source(
    split("train_split"),
    split("validation_split"),
    class_names=tuple(features[label_key].names),
    channels=features[image_key].shape[-1] or 3,
  )


def _only_key(features, kind):
  """Returns the key of the only feature of that kind, or None."""
  keys = [key for key, value in features.items() if isinstance(value, kind)]
  return keys[0] if len(keys) == 1 else None
