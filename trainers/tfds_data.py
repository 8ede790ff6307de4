"""Data sets of TFDS that are prepared on disk, and array_record files."""

import importlib.util
import os
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
import tqdm

from trainers.errors import UserError, first_line
from trainers.files import check_data_dir
from trainers.input import PARALLEL_CALLS

_FORMATS = tfds.core.FileFormat
# Packages by which TFDS reads a format, besides TensorFlow.
_PACKAGES = {
  _FORMATS.ARRAY_RECORD: "array_record",
  _FORMATS.PARQUET: "pyarrow",
  _FORMATS.RIEGELI: "riegeli",
}
_AT_ONCE = 1024  # Records that are read together, in the order of the files.


def load(
  name: str, data_dir: str | None, other_names: Sequence[str]
) -> tfds.core.DatasetBuilder:
  """Returns the builder of a data set that is already prepared on disk.

  Args:
    name: A config's `data.name`, with its TFDS config if it has one.
    data_dir: TFDS's data_dir, or None for its default.
    other_names: What else `data.name` might have been.

  Raises:
    UserError: if there is no such data set, or no data of it, or none in files
      that can be read here.
  """
  if data_dir:
    check_data_dir(data_dir)
  try:
    builder = tfds.builder(name, data_dir=data_dir, try_gcs=False)
  except tfds.core.DatasetNotFoundError:
    raise UserError(
      f"data.name={name!r} is unknown: it must be "
      f"{', '.join(map(repr, other_names))} or a TFDS data set, one of TFDS's "
      f"catalogue or one that is prepared in --data_dir={data_dir}."
    ) from None
  except ValueError as error:
    raise UserError(
      f"data.name={name!r} is not available from TFDS: {error}"
    ) from error
  if not builder.info.splits:
    raise UserError(
      f"--data_dir={data_dir or os.path.dirname(builder.data_dir)} has no "
      f"prepared data of {name!r}. Prepare it where there is a network: "
      f"tfds build {name} --data_dir=DIR"
    )
  _check_format(name, builder)
  return builder


def _check_format(name, builder):
  package = _PACKAGES.get(builder.info.file_format)
  if package and not importlib.util.find_spec(package):
    raise UserError(
      f"data.name={name!r} is prepared in {builder.data_dir} as files of the "
      f"format {builder.info.file_format.value!r}, and the package {package!r} "
      "that reads them is not installed: install it, or prepare the data in "
      "another directory, "
      f"tfds build {name} --data_dir=DIR --file_format=tfrecord"
    )


def is_array_record(builder: tfds.core.DatasetBuilder) -> bool:
  """Whether a data set is in files of the format array_record."""
  return builder.info.file_format == _FORMATS.ARRAY_RECORD


def examples(builder: tfds.core.DatasetBuilder, name: str) -> tf.data.Dataset:
  """Returns the decoded examples of a split, in the order of its files.

  Args:
    builder: From `load`.
    name: Name of the split, or a part of one such as "train[:1000]".
  """
  if not is_array_record(builder):
    return builder.as_dataset(split=name, shuffle_files=False)
  return (
    ArrayRecords(builder, name)
    .dataset()
    .map(
      builder.info.features.deserialize_example,
      num_parallel_calls=PARALLEL_CALLS,
      deterministic=True,
    )
  )


def split(
  builder: tfds.core.DatasetBuilder, field: str, name: str
) -> tfds.core.SplitInfo:
  """Returns what TFDS knows of a split, such as `num_examples`.

  Args:
    builder: From `load`.
    field: The field of the config that names the split.
    name: Name of the split, or a part of one such as "train[:1000]".

  Raises:
    UserError: if there is no such split, or if it is empty.
  """
  try:
    info = builder.info.splits[name]
  except (KeyError, ValueError):
    raise UserError(
      f"{field}={name!r} is not a split of {builder.name}, which has "
      f"{list(builder.info.splits)}."
    ) from None
  if not info.num_examples:
    raise UserError(f"{field}={name!r} of {builder.name} has no examples.")
  return info


class ArrayRecords:
  """The records of one split, numbered from 0.

  TFDS reads the records in Python: TensorFlow has no operation for them.

  Args:
    builder: Of a data set that is prepared as array_record files.
    split: Name of the split, or a part of one such as "train[:1000]".
  """

  def __init__(self, builder: tfds.core.DatasetBuilder, split: str):
    self._source = builder.as_data_source(
      split=split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES
    )
    files = builder.info.splits[split].file_instructions
    self._paths = [str(file.filename) for file in files]
    # The number of a record plus its file's shift is its place in the file.
    ends = np.cumsum([file.take for file in files])
    starts = ends - [file.take for file in files]
    self._ends, self._shifts = ends, [f.skip for f in files] - starts

  def __len__(self) -> int:
    return len(self._source)

  def numbers(
    self, host: int, hosts: int, seed: tf.Tensor | None
  ) -> tf.data.Dataset:
    """Returns the numbers of one of `hosts` parts, int64 scalars.

    Args:
      host: Which part, from 0.
      hosts: How many parts there are. Their sizes differ by one at most.
      seed: int64 scalar that decides the order; None for that of the files.
    """
    size = len(self)
    first, end = size * host // hosts, size * (host + 1) // hosts
    numbers = tf.data.Dataset.range(first, end)
    if seed is None:
      return numbers
    return numbers.shuffle(
      max(1, end - first), seed=seed, reshuffle_each_iteration=False
    )

  def read(self, number: tf.Tensor) -> tf.Tensor:
    """Returns a record as it is stored, a string scalar."""
    # TensorFlow calls a function without state several times at once, also with
    # --deterministic.
    record = tf.numpy_function(self._read, [number], tf.string, stateful=False)
    return tf.ensure_shape(record, ())

  def dataset(self) -> tf.data.Dataset:
    """Returns all records in their order, string scalars."""
    return (
      tf.data.Dataset.range(len(self))
      .batch(_AT_ONCE)
      .map(
        lambda numbers: tf.ensure_shape(
          tf.numpy_function(
            self._read_all, [numbers], tf.string, stateful=False
          ),
          (None,),
        ),
        num_parallel_calls=PARALLEL_CALLS,
        deterministic=True,
      )
      .unbatch()
    )

  def place(self, number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the path of a record's file, and its number there from 0."""
    file = tf.searchsorted(self._ends, number[tf.newaxis], side="right")[0]
    return tf.gather(self._paths, file), number + tf.gather(self._shifts, file)

  def find_damage(self) -> str | None:
    """Reads all records; returns a sentence on the first that is damaged."""
    for number in tqdm.trange(
      len(self), desc="Looking for the damage", unit="record"
    ):
      try:
        self._source[number]
      except Exception as error:  # See _read.
        path, index = self.place(tf.constant(number, tf.int64))
        return (
          f"{path.numpy().decode()} is damaged at record {index}, counted from "
          f"0: {first_line(error)}"
        )
    return None

  def _read(self, number):
    return self._as_input(lambda: self._source[int(number)])

  def _read_all(self, numbers):
    return self._as_input(lambda: self._source.__getitems__(numbers.tolist()))

  def _as_input(self, read):
    """Returns what `read` returns; its errors become errors of the input."""
    try:
      return np.array(read(), dtype=object)
    # The package's readers raise RuntimeError, ValueError, IndexError and more.
    except Exception as error:
      raise ValueError(first_line(error)) from None
