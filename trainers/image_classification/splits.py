"""Splits of labelled images, as the input pipelines read them."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tqdm

from trainers.errors import UserError, reason
from trainers.image_classification import fingerprints, pixels
from trainers.input import PARALLEL_CALLS, prefetch


class Example(NamedTuple):
  """A labelled image as it was found.

  Attributes:
    image: The contents of an image file, a string scalar (see `pixels.decode`),
      or pixels, uint8 of shape (height, width, channels).
    label: int32 scalar, from 0.
  """

  image: tf.Tensor
  label: tf.Tensor


@dataclasses.dataclass(frozen=True)
class Split:
  """One part of a data set.

  Attributes:
    size: Number of records.
    records: A function of (host, hosts, seed, buffer): returns the records of
      host number `host` of `hosts`, a `tf.data.Dataset` of what is cheap to
      shuffle and to skip: paths, numbers, encoded images. Each of n hosts has
      size // n at least, and each record is on one host. With `seed=None` the
      order is fixed. An int64 scalar `seed` decides another order, in which
      records are shuffled among `buffer` of them at least.
    load: A function of a record's components; returns its Example.
    name: A function of a record's components; returns where it is from, for
      messages, a string scalar.
    channels: Channels of the pixels, 1 or 3.
    is_encoded: Whether the images of `load` are contents of files, not pixels.
    find_damage: Returns a sentence on a file in which no records can be found,
      or None. Reads all of them.
    fingerprint: Returns a text that differs for other data, or "" if there is
      none. It may look at all files.
  """

  size: int
  records: Callable[[int, int, tf.Tensor | None, int], tf.data.Dataset]
  load: Callable[..., Example]
  name: Callable[..., tf.Tensor]
  channels: int = 3
  is_encoded: bool = True
  find_damage: Callable[[], str | None] = lambda: None
  fingerprint: Callable[[], str] = lambda: ""

  def decode(self, *record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns (image, label) of a record's components.

    The image is uint8 of shape (height, width, channels), the label an int32
    scalar.
    """
    image, label = self.load(*record)
    if self.is_encoded:
      image = pixels.decode(image, self.channels)
    return image, label

  @property
  def examples(self) -> tf.data.Dataset:
    """All pairs (image, label) in a fixed order, as `decode` returns them."""
    return self.records(0, 1, None, 1).map(
      self.decode, num_parallel_calls=PARALLEL_CALLS
    )

  def find_unreadable(self, records: tf.data.Dataset) -> UserError | None:
    """Reads and decodes records up to the first for which that fails.

    An operation that fails does not name the image. Names that travel with the
    images would cost time in every step, and looking again costs time only
    after an error.

    Args:
      records: The records to read, in this order.

    Returns:
      An error with the name of the image, or None if all can be read.
    """
    heights = records.map(
      lambda *record: tf.shape(self.decode(*record)[0])[0],
      num_parallel_calls=PARALLEL_CALLS,
      deterministic=True,
    )
    readable = 0
    try:
      for _ in tqdm.tqdm(
        prefetch(heights),
        desc="Looking for what cannot be read",
        unit="image",
        delay=2,
      ):
        readable += 1
    except tf.errors.OpError as error:
      name = self._name_of_first(records.skip(readable))
      if name is not None:
        return UserError(f"{name} cannot be read: {reason(error)}")
      return UserError(self.find_damage() or reason(error))
    return None

  def _name_of_first(self, records):
    """Returns the name of the first record, or None if that fails too."""
    try:
      for name in records.take(1).map(self.name):
        return name.numpy().decode(errors="replace")
    except tf.errors.OpError:
      return None


@dataclasses.dataclass(frozen=True)
class Source:
  """A data set of labelled images.

  Attributes:
    train: The examples to train on.
    validation: The examples to evaluate on.
    class_names: Names of the labels 0, 1, ...
    channels: Channels of the images, 1 or 3.
    is_made_up: Whether the images are noise; see `sources.made_up`.
    notes: Sentences on files that are left out, and why.
  """

  train: Split
  validation: Split
  class_names: tuple[str, ...]
  channels: int
  is_made_up: bool = False
  notes: tuple[str, ...] = ()

  def describe(self) -> dict[str, Any]:
    """Returns what tells this source from another, JSON-like."""
    description = {
      "train_size": self.train.size,
      "validation_size": self.validation.size,
      "class_names": list(self.class_names),
      "channels": self.channels,
    }
    for name, split in (
      ("train", self.train),
      ("validation", self.validation),
    ):
      if fingerprint := split.fingerprint():
        description[f"{name}_fingerprint"] = fingerprint
    if self.is_made_up:
      description["fake"] = True
    return description


def of_record(record: Mapping[str, Any]) -> Source:
  """Returns a source that was described, whose images cannot be read.

  Args:
    record: From `Source.describe`.
  """

  def split(size):
    return Split(size, records=None, load=None, name=None)

  return Source(
    split(record["train_size"]),
    split(record["validation_size"]),
    class_names=tuple(record["class_names"]),
    channels=record["channels"],
    is_made_up=record.get("fake", False),
  )


def of_files(
  paths: Sequence[str],
  labels: np.ndarray,
  channels: int,
  fingerprint: Callable[[], str] = lambda: "",
) -> Split:
  """Returns a split of image files.

  Args:
    paths: Of the files.
    labels: Integers of shape (files,), from 0.
    channels: Channels of the pixels, 1 or 3.
    fingerprint: As in `Split`.
  """
  # Paths of all files are on each host, so that a shuffle mixes classes.
  encoded = np.array([path.encode() for path in paths])
  return Split(
    len(encoded),
    in_memory(encoded, labels.astype("int32")),
    load=lambda path, label: Example(tf.io.read_file(path), label),
    name=lambda path, label: path,
    channels=channels,
    fingerprint=functools.cache(fingerprint),
  )


def of_arrays(images: np.ndarray, labels: np.ndarray) -> Split:
  """Returns a split of images that are in memory.

  Args:
    images: uint8 of shape (examples, height, width, channels).
    labels: Integers of shape (examples,), from 0.
  """
  return Split(
    len(images),
    in_memory(images, labels.astype("int32")),
    load=Example,
    name=lambda image, label: tf.constant("An image in memory"),
    channels=images.shape[-1],
    is_encoded=False,
    fingerprint=functools.cache(lambda: fingerprints.of_arrays(images, labels)),
  )


def in_memory(
  *columns: np.ndarray,
) -> Callable[[int, int, tf.Tensor | None, int], tf.data.Dataset]:
  """Returns the `records` of a Split whose records are rows of arrays.

  Each host has every `hosts`-th row. A seed shuffles all rows of a host,
  whatever the buffer.

  Args:
    *columns: Arrays of equal length, the components of a record.
  """

  def records(host, hosts, seed, buffer):
    del buffer
    own = tuple(column[host::hosts] for column in columns)
    dataset = tf.data.Dataset.from_tensor_slices(own)
    if seed is None:
      return dataset
    return dataset.shuffle(
      max(1, len(own[0])), seed=seed, reshuffle_each_iteration=False
    )

  return records
