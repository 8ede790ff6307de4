"""What a data set is to the input: splits of labelled images."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from trainers.image_classification import decoding


@dataclasses.dataclass(frozen=True)
class Split:
  """One part of a data set, of images that are decoded.

  Attributes:
    examples: Pairs (image, label) in a fixed order: uint8 of shape (height,
      width, channels), which may differ between images, and an integer scalar.
    size: Number of examples.
  """

  examples: tf.data.Dataset
  size: int


class Example(NamedTuple):
  """A labelled image as it was found.

  Attributes:
    image: An image file's contents, a string scalar; see `decoding.decode`.
    label: int32 scalar, from 0.
  """

  image: tf.Tensor
  label: tf.Tensor


@dataclasses.dataclass(frozen=True)
class EncodedSplit:
  """One part of a data set, of images that are still to be decoded.

  Attributes:
    size: Number of records.
    records: A function of (host, hosts, seed, buffer): this host's records of
      so many hosts', a `tf.data.Dataset` of what is cheap to shuffle and to
      skip. Each of n hosts has size // n at least, and each record is on one
      host. They come in a fixed order if `seed` is None; else in one that an
      int64 scalar tensor `seed` decides, shuffled among `buffer` or more.
    load: A function of a record's components; returns its Example.
    name: A function of a record's components; returns where it is from, for
      messages, a string scalar.
    channels: Channels to decode, 1 or 3.
    find_damage: Returns a sentence on a file in which no records can be found,
      or None. Reads all of them.
  """

  size: int
  records: Callable[[int, int, tf.Tensor | None, int], tf.data.Dataset]
  load: Callable[..., Example]
  name: Callable[..., tf.Tensor]
  channels: int = 3
  find_damage: Callable[[], str | None] = lambda: None

  @property
  def examples(self) -> tf.data.Dataset:
    """Pairs (image, label), decoded, as those of a Split."""

    def decode(*record):
      example = self.load(*record)
      return decoding.decode(example.image, self.channels), example.label

    return self.records(0, 1, None, 1).map(
      decode, num_parallel_calls=tf.data.AUTOTUNE
    )


@dataclasses.dataclass(frozen=True)
class FakeSplit:
  """One part of a data set that does not exist.

  Attributes:
    size: Number of examples that it would have.
    num_classes: Labels are less than this.
    channels: Channels of the images, 1 or 3.
  """

  size: int
  num_classes: int
  channels: int


@dataclasses.dataclass(frozen=True)
class Source:
  """A data set of labelled images.

  Attributes:
    train: The examples to train on.
    validation: The examples to evaluate on.
    class_names: Names of the labels 0, 1, ...
    channels: Channels of the images, 1 or 3.
  """

  train: Split | EncodedSplit | FakeSplit
  validation: Split | EncodedSplit | FakeSplit
  class_names: tuple[str, ...]
  channels: int

  def describe(self) -> dict[str, Any]:
    """Returns what tells this source from another, JSON-like."""
    description = {
      "train_size": self.train.size,
      "validation_size": self.validation.size,
      "class_names": list(self.class_names),
      "channels": self.channels,
    }
    if isinstance(self.train, FakeSplit):
      description["fake"] = True
    return description
