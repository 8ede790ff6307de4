"""CIFAR and ImageNet of a few random images each, and a folder of images."""

import os

import keras
import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

_TRAIN, _VALIDATION = 32, 12


def write(data_dir: str) -> str:
  """Writes cifar10, cifar100 and imagenet2012, and returns `data_dir`.

  There are 32 images to train on and 12 to validate on in each.
  """
  features = tfds.features
  small = features.Image(shape=(32, 32, 3), encoding_format="png")
  cifar10 = {
    "id": features.Text(),
    "image": small,
    "label": features.ClassLabel(num_classes=10),
  }
  cifar100 = {
    "coarse_label": features.ClassLabel(num_classes=20),
    "id": features.Text(),
    "image": small,
    "label": features.ClassLabel(num_classes=100),
  }
  imagenet = {
    "file_name": features.Text(),
    "image": features.Image(encoding_format="jpeg"),
    "label": features.ClassLabel(num_classes=1000),
  }
  for name, version, validation, fields in (
    ("cifar10", "3.0.2", "test", cifar10),
    ("cifar100", "3.0.2", "test", cifar100),
    ("imagenet2012", "5.1.0", "validation", imagenet),
  ):
    splits = {"train": _TRAIN, validation: _VALIDATION}
    tfds.dataset_builders.store_as_tfds_dataset(
      name=name,
      version=version,
      features=features.FeaturesDict(fields),
      split_datasets={
        key: _examples(fields, size) for key, size in splits.items()
      },
      data_dir=data_dir,
    )
  return data_dir


def write_folder(directory: str) -> str:
  """Writes as many images of four classes, and returns `directory`."""
  random = np.random.default_rng(0)
  for split, size in (("train", _TRAIN), ("validation", _VALIDATION)):
    for i in range(size):
      folder = os.path.join(directory, split, f"class{i % 4}")
      os.makedirs(folder, exist_ok=True)
      keras.utils.save_img(
        os.path.join(folder, f"{i}.png"), random.random((32, 32, 3))
      )
  return directory


def _examples(fields, size):
  random = np.random.default_rng(size)

  def values(feature):
    if isinstance(feature, tfds.features.Image):
      shape = [side or 40 for side in feature.shape[:2]]
      return random.integers(256, size=(size, *shape, 3), dtype="uint8")
    if isinstance(feature, tfds.features.ClassLabel):
      return random.integers(feature.num_classes, size=size)
    return [f"name{i}" for i in range(size)]

  return tf.data.Dataset.from_tensor_slices(
    {key: values(feature) for key, feature in fields.items()}
  )
