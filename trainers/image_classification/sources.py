"""Where images and labels come from."""

import numpy as np
from sklearn import datasets, model_selection

from trainers.errors import UserError
from trainers.image_classification import (
  cifar_binary,
  image_folder,
  splits,
  tfds_images,
  tfrecords,
)
from trainers.image_classification.splits import Source, Split

# Names of data that is not TFDS's.
_NAMES = ("digits", "image_folder", "tfrecords", cifar_binary.NAME)
# Sizes of data that is made up: examples to train on and to evaluate on,
# classes, channels.
_SIZES = {
  "cifar10": (50_000, 10_000, 10, 3),
  cifar_binary.NAME: (50_000, 10_000, 10, 3),
  "cifar100": (50_000, 10_000, 100, 3),
  "digits": (1_437, 360, 10, 1),
  "imagenet2012": (1_281_167, 50_000, 1000, 3),
}
# Names that do not say how much data there is: ImageNet's sizes are taken.
_LIKE_IMAGENET = ("image_folder", "tfrecords")


def load(
  name: str,
  data_dir: str | None = None,
  train_split: str = "train",
  validation_split: str = "validation",
  fake_data: bool = False,
  validation_fraction: float | None = None,
  split_seed: int = 0,
) -> Source:
  """Returns the data set of that name.

  Args:
    name: One of _NAMES, or the name of a TFDS data set.
    data_dir: The folder of images, TFRecords or binary files, or TFDS's
      data_dir (None for its default).
    train_split: Name of the split to train on; of "digits" there is one only.
    validation_split: Name of the split to evaluate on, likewise.
    fake_data: Whether to make up as much data instead.
    validation_fraction: The part of an "image_folder" to hold out, where
      `data_dir` holds class folders and no splits; or None.
    split_seed: Decides which part that is.

  Raises:
    UserError: if there is no such data set, or no data in it.
  """
  if fake_data:
    return made_up(name)
  if name == "digits":
    return _digits()
  if name == "image_folder" and validation_fraction:
    return image_folder.load_and_split(
      data_dir, validation_fraction, split_seed, (train_split, validation_split)
    )
  if name == "image_folder":
    return image_folder.load(data_dir, train_split, validation_split)
  if name == "tfrecords":
    return tfrecords.load(data_dir, train_split, validation_split)
  if name == cifar_binary.NAME:
    return cifar_binary.load(data_dir, train_split, validation_split)
  return tfds_images.load(name, data_dir, train_split, validation_split, _NAMES)


def _digits():
  """scikit-learn's 1,797 handwritten digits of 8x8 pixels, 360 to validate."""
  digits = datasets.load_digits()
  images = np.rint(digits.images[..., np.newaxis] * (255 / 16)).astype("uint8")
  # The same split in every run, whatever its seed.
  train, validation = model_selection.train_test_split(
    np.arange(len(images)),
    test_size=360,
    random_state=0,
    stratify=digits.target,
  )
  return Source(
    splits.of_arrays(images[train], digits.target[train]),
    splits.of_arrays(images[validation], digits.target[validation]),
    class_names=tuple(str(name) for name in digits.target_names),
    channels=1,
  )


def made_up(name: str) -> Source:
  """Returns noise in place of a data set, as many examples as that has.

  Made-up data is for benchmarks, and for steps that are only compiled. Its
  images are all one, of one pixel; `pipelines.MadeUpImages` makes batches of
  any size.

  Args:
    name: As in `load`.

  Raises:
    UserError: if the size of that data set is not known.
  """
  size_of = "imagenet2012" if name in _LIKE_IMAGENET else name
  if size_of not in _SIZES:
    raise UserError(
      f"--fake_data has the sizes of {[*_SIZES]}, and for {_LIKE_IMAGENET} "
      f"that of ImageNet, but not of data.name={name!r}."
    )
  *sizes, classes, channels = _SIZES[size_of]

  def split(size):
    image = np.zeros((1, 1, 1, channels), "uint8")
    one = splits.of_arrays(image, np.zeros(1, "int32"))
    return Split(
      size,
      lambda host, hosts, seed, buffer: one.records(0, 1, None, 1).repeat(
        len(range(host, size, hosts))
      ),
      load=one.load,
      name=one.name,
      channels=channels,
      is_encoded=False,
    )

  return Source(
    *map(split, sizes),
    class_names=tuple(map(str, range(classes))),
    channels=channels,
    is_made_up=True,
  )
