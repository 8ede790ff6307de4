"""Data sets of TFDS that are already prepared on disk."""

import os
from collections.abc import Sequence

import tensorflow as tf
import tensorflow_datasets as tfds

from trainers.errors import UserError


def load(
  name: str, data_dir: str | None, other_names: Sequence[str]
) -> tfds.core.DatasetBuilder:
  """Returns the builder of a data set that is already prepared on disk.

  Args:
    name: A config's `data.name`, with its TFDS config if it has one.
    data_dir: TFDS's data_dir, or None for its default.
    other_names: What else `data.name` might have been.

  Raises:
    UserError: if there is no such data set, or no data of it.
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
  return builder


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
