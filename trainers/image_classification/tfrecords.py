"""TFRecords: ImageNet's classic layout, and files of many records in general.

Files of the classic layout are named as train-00000-of-01024. Their examples
have the features `image/encoded`, `image/class/label`, which is 1 to 1000 since
0 stands for the background, and `image/filename`.
"""

import concurrent.futures
import dataclasses
import functools
import hashlib
import os
import re
import struct
from collections.abc import Callable, Sequence

import tensorflow as tf
import tqdm

from trainers.errors import UserError, reason
from trainers.files import check_data_dir, tell_archives
from trainers.image_classification import fingerprints
from trainers.image_classification.splits import Example, Source, Split

_CLASSES = 1000
_FEATURES = {
  "image/encoded": tf.io.FixedLenFeature((), tf.string),
  "image/class/label": tf.io.FixedLenFeature((), tf.int64),
  "image/filename": tf.io.FixedLenFeature((), tf.string, ""),
}
_THREADS = 16
# Files that are read side by side; shuffling mixes their records.
_FILES_AT_ONCE = 16
_BUFFER_BYTES = 4 * 2**20


def load(
  directory: str | None, train_split: str, validation_split: str
) -> Source:
  """Returns the records of two splits, whose files a directory holds.

  Args:
    directory: With files SPLIT-00000-of-00128 and so on, all of a split.
    train_split: What the names of the files to train on begin with.
    validation_split: Likewise.

  Raises:
    UserError: if files are missing or are no TFRecords.
  """
  if not directory:
    raise UserError(
      "data.name='tfrecords' needs --data_dir, a folder with files "
      f"{train_split}-00000-of-01024 and so on, and {validation_split}-..."
    )
  return Source(
    *(_split(directory, name) for name in (train_split, validation_split)),
    class_names=tuple(str(i) for i in range(1, _CLASSES + 1)),
    channels=3,
  )


def _split(directory, name):
  paths = _find_files(directory, name)
  with concurrent.futures.ThreadPoolExecutor(_THREADS) as threads:
    counts = list(
      tqdm.tqdm(
        threads.map(_count_records, paths),
        total=len(paths),
        desc=f"Counting the records of {name}",
        unit="file",
        delay=2,
      )
    )
  extents = [Extent(path, 0, count) for path, count in zip(paths, counts)]
  return make_split(extents, _load, _name)


def _find_files(directory, name):
  """Returns the sorted paths of a split's files, all of which are there."""
  pattern = re.compile(re.escape(name) + r"-(\d{5})-of-(\d{5})")
  check_data_dir(directory)
  files = sorted(filter(pattern.fullmatch, tf.io.gfile.listdir(directory)))
  if not files:
    raise UserError(
      f"--data_dir={directory} has no files {name}-00000-of-..., which "
      f"data.name='tfrecords' reads.{tell_archives(directory)}"
    )
  number = int(pattern.fullmatch(files[-1])[2])
  wanted = {f"{name}-{i:05}-of-{number:05}" for i in range(number)}
  if set(files) != wanted:
    missing, foreign = wanted - set(files), set(files) - wanted
    raise UserError(
      f"--data_dir={directory} must have the {number} files of {name!r} and no "
      f"others: {len(missing)} are missing {sorted(missing)[:3]}, and "
      f"{len(foreign)} belong to another set {sorted(foreign)[:3]}."
    )
  return [os.path.join(directory, file) for file in files]


def _count_records(path):
  """Returns the number of records of a TFRecord file, reading their lengths."""
  count, position = 0, 0
  size = tf.io.gfile.stat(path).length
  with _open_unbuffered(path) as file:
    while position < size:
      file.seek(position)
      head = file.read(8)
      # Length, its checksum of 4 bytes, data, its checksum.
      position += 16 + struct.unpack("<Q", head)[0] if len(head) == 8 else size
      count += 1
  if position != size:
    raise UserError(
      f"{path} is cut off or no TFRecord file: record {count - 1}, counted "
      f"from 0, would end at byte {position} of {size}."
    )
  return count


def _open_unbuffered(path):
  """Opens a file to read a few bytes here and there."""
  if "://" in path:
    return tf.io.gfile.GFile(path, "rb")
  return open(path, "rb", buffering=0)


def _load(record, path, index):
  example = tf.io.parse_single_example(record, _FEATURES)
  label = example["image/class/label"]
  is_class = tf.raw_ops.Assert(
    condition=(label >= 1) & (label <= _CLASSES),
    data=[f"image/class/label must be 1 to {_CLASSES}. Received:", label],
  )
  with tf.control_dependencies([is_class]):
    label = tf.cast(label - 1, tf.int32)
  return Example(example["image/encoded"], label)


def _name(record, path, index):
  file_name = tf.io.parse_single_example(record, _FEATURES)["image/filename"]
  place = name_of(path, index)
  return tf.strings.join([place, file_name], separator=", ")


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
      for _ in read_file(tf.constant(extent.path)):
        index += 1
    except tf.errors.OpError as error:
      return (
        f"{extent.path} is damaged at record {index}, counted from 0: "
        f"{reason(error)}"
      )
  return None
