"""Fingerprints of image data: a run notices that its data was changed."""

import concurrent.futures
import functools
import hashlib
import os
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
import tqdm

from trainers.errors import UserError, first_line

# Files of up to so many bytes in all are read: that takes a second or two.
CONTENTS_UP_TO = 256 * 2**20
# Sizes of up to so many files in a bucket are asked for, a request each.
_REMOTE_SIZES_UP_TO = 10_000
_THREADS = 16


def of_files(paths: Sequence[str], root: str) -> str:
  """Returns a text that differs for other names, sizes or contents of files.

  Contents count if the files have CONTENTS_UP_TO bytes at most in all and are
  on a disk. Sizes count but for more than 10,000 files of a bucket.

  Args:
    paths: The files.
    root: A folder above them, whose name does not count.

  Raises:
    UserError: if a file cannot be read.
  """
  is_remote = "://" in root
  digest = hashlib.sha256()
  sizes = _sizes(paths, is_remote)
  for path, size in zip(paths, sizes):
    digest.update(f"{os.path.relpath(path, root)} {size}\n".encode())
  if not is_remote and sum(sizes) <= CONTENTS_UP_TO:
    for path in paths:
      digest.update(_read(path))
  return digest.hexdigest()


def of_arrays(*arrays: np.ndarray) -> str:
  """Returns a text that differs for other arrays."""
  digest = hashlib.sha256()
  for array in arrays:
    digest.update(f"{array.dtype} {array.shape}\n".encode())
    digest.update(np.ascontiguousarray(array).tobytes())
  return digest.hexdigest()


def _sizes(paths, is_remote):
  """Returns the size of each file in bytes, or None where it takes too long."""
  progress = functools.partial(
    tqdm.tqdm, total=len(paths), desc="Sizes of files", unit="file", delay=2
  )
  if not is_remote:
    return [_size(path) for path in progress(paths)]
  if len(paths) > _REMOTE_SIZES_UP_TO:
    return [None] * len(paths)
  with concurrent.futures.ThreadPoolExecutor(_THREADS) as threads:
    return list(progress(threads.map(_size, paths)))


def _size(path):
  try:
    if "://" in path:
      return tf.io.gfile.stat(path).length
    return os.path.getsize(path)
  except (OSError, tf.errors.OpError) as error:
    raise UserError(f"{path} cannot be read: {first_line(error)}") from error


def _read(path):
  try:
    with open(path, "rb") as file:
      return file.read()
  except OSError as error:
    raise UserError(f"{path} cannot be read: {error.strerror}") from error
