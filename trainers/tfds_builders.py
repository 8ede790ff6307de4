"""Data sets of TFDS that are already prepared on disk."""

import importlib.util
import os
from collections.abc import Sequence

import tensorflow as tf
import tensorflow_datasets as tfds

from trainers.array_records import ArrayRecords
from trainers.errors import UserError

_FORMATS = tfds.core.FileFormat
# Which package TFDS reads a format with, besides TensorFlow.
_PACKAGES = {
  _FORMATS.ARRAY_RECORD: "array_record",
  _FORMATS.PARQUET: "pyarrow",
  _FORMATS.RIEGELI: "riegeli",
}


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
  if data_dir and not tf.io.gfile.isdir(data_dir):
    raise UserError(f"--data_dir={data_dir} is not a directory.")
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
      f"data.name={name!r} cannot be had from TFDS: {error}"
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
      num_parallel_calls=tf.data.AUTOTUNE,
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
