"""Files of many records: shared out between hosts, shuffled, read."""

import dataclasses
import functools
import hashlib
import os
from collections.abc import Callable, Sequence

import tensorflow as tf
import tqdm

from trainers.errors import reason
from trainers.image_classification import fingerprints
from trainers.image_classification.splits import Example, Split
from trainers.input import prefetch

# Files that are read side by side; shuffling mixes their records.
_FILES_AT_ONCE = 16
_BUFFER_BYTES = 4 * 2**20


@dataclasses.dataclass(frozen=True)
class Extent:
  """Consecutive records of a file.

  Attributes:
    path: The file.
    skip: Records before the first.
    take: Number of records.
  """

  path: str
  skip: int
  take: int


def read_tfrecords(path: tf.Tensor) -> tf.data.Dataset:
  """Returns the records of a TFRecord file, string scalars."""
  return tf.data.TFRecordDataset(path, buffer_size=_BUFFER_BYTES)


def part_of_host(
  extents: Sequence[Extent], host: int, hosts: int
) -> list[Extent]:
  """Returns one of `hosts` parts whose sizes differ by one at most.

  Each part is consecutive, so that a host opens few files of the others'.
  """
  size = sum(extent.take for extent in extents)
  first, end = size * host // hosts, size * (host + 1) // hosts
  part, start = [], 0
  for extent in extents:
    skip = max(0, first - start)
    take = min(extent.take, end - start) - skip
    if take > 0:
      part.append(Extent(extent.path, extent.skip + skip, take))
    start += extent.take
  return part


def read(
  extents: Sequence[Extent],
  seed: tf.Tensor | None,
  buffer: int,
  read_file: Callable[[tf.Tensor], tf.data.Dataset] = read_tfrecords,
) -> tf.data.Dataset:
  """Returns records with where they are from.

  Args:
    extents: What to read.
    seed: int64 scalar that decides the order, of files and then of records;
      None for a fixed order.
    buffer: Records to shuffle among; those of 16 files are mixed before.
    read_file: A function of a path; returns its records.

  Returns:
    Triples (record, path, index in the file).
  """
  files = tf.data.Dataset.from_tensor_slices(
    (
      tf.constant([e.path for e in extents], tf.string, (len(extents),)),
      tf.constant([e.skip for e in extents], tf.int64, (len(extents),)),
      tf.constant([e.take for e in extents], tf.int64, (len(extents),)),
    )
  )

  def read_extent(path, skip, take):
    numbered = read_file(path).enumerate().skip(skip).take(take)
    return numbered.map(lambda index, record: (record, path, index))

  if seed is not None:
    files = files.shuffle(
      max(1, len(extents)), seed=seed, reshuffle_each_iteration=False
    )
  records = files.interleave(
    read_extent,
    cycle_length=_FILES_AT_ONCE,
    num_parallel_calls=_FILES_AT_ONCE,
    deterministic=True,
  )
  if seed is not None:
    size = sum(extent.take for extent in extents)
    records = records.shuffle(
      max(1, min(buffer, size)), seed=seed, reshuffle_each_iteration=False
    )
  return records


def make_split(
  extents: Sequence[Extent],
  load: Callable[..., Example],
  name: Callable[..., tf.Tensor],
  channels: int = 3,
  read_file: Callable[[tf.Tensor], tf.data.Dataset] = read_tfrecords,
) -> Split:
  """Returns the split of all records in `extents`.

  Args:
    extents: Where the records are.
    load: As in Split, of a record, its file's path and its index there.
    name: As in Split, of the same three.
    channels: Channels of the images, 1 or 3.
    read_file: As for `read`.
  """
  return Split(
    sum(extent.take for extent in extents),
    lambda host, hosts, seed, buffer: read(
      part_of_host(extents, host, hosts), seed, buffer, read_file
    ),
    load,
    name,
    channels,
    find_damage=lambda: _find_damage(extents, read_file),
    fingerprint=functools.cache(lambda: fingerprint(extents)),
  )


def fingerprint(extents: Sequence[Extent]) -> str:
  """Returns a text that differs for other files, or other parts of them."""
  root = os.path.dirname(extents[0].path) if extents else ""
  content = fingerprints.of_files([extent.path for extent in extents], root)
  parts = [(extent.skip, extent.take) for extent in extents]
  return hashlib.sha256(f"{content} {parts}".encode()).hexdigest()


def name_of(path: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
  """Returns the name of a record without a name."""
  return tf.strings.join(["Record ", tf.strings.as_string(index), " of ", path])


def _find_damage(extents, read_file):
  """Reads all records; returns a sentence on the first that is damaged."""
  progress = tqdm.tqdm(extents, desc="Looking for the damage", unit="file")
  for extent in progress:
    index = 0
    try:
      for _ in prefetch(read_file(tf.constant(extent.path))):
        index += 1
    except tf.errors.OpError as error:
      return (
        f"{extent.path} is damaged at record {index}, counted from 0: "
        f"{reason(error)}"
      )
  return None
