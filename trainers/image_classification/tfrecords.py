"""ImageNet as TFRecords in its classic layout.

Files are named as train-00000-of-01024. Their examples have the features
`image/encoded`, `image/class/label`, which is 1 to 1000 since 0 stands for the
background, and `image/filename`.
"""

import concurrent.futures
import os
import re
import struct

import tensorflow as tf
import tqdm

from trainers.errors import UserError
from trainers.files import check_data_dir, tell_archives
from trainers.image_classification import record_files
from trainers.image_classification.record_files import Extent
from trainers.image_classification.splits import Example, Source

_CLASSES = 1000
_FEATURES = {
  "image/encoded": tf.io.FixedLenFeature((), tf.string),
  "image/class/label": tf.io.FixedLenFeature((), tf.int64),
  "image/filename": tf.io.FixedLenFeature((), tf.string, ""),
}
_THREADS = 16


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
  return record_files.make_split(extents, _load, _name)


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
  place = record_files.name_of(path, index)
  return tf.strings.join([place, file_name], separator=", ")
