"""The files of checkpoints: their names, and how they are written and removed.

A checkpoint is written under another name and then moved into place, its index
last. A checkpoint counts if its index is there.
"""

import os
import re

import tensorflow as tf

UNFINISHED = "unfinished"
# Files of a checkpoint, and files that TensorFlow leaves of one that fails.
INDEX = r"\.index"
DATA = r"\.data-\d{5}-of-\d{5}"
_PARTIAL = rf"({INDEX}|{DATA})(\.tempstate\d+)?"
# The files of replicas, behind the name of their checkpoint.
REPLICAS = r"\.replicas-\d+-of-\d+x\d+"
NAME = r"(ckpt-(?:0|[1-9]\d*))"


def write(
  checkpoint: tf.train.Checkpoint, path: str, unfinished: str = UNFINISHED
) -> None:
  """Writes a checkpoint under another name, then moves it to `path`.

  Args:
    checkpoint: What to write.
    path: Where it belongs, without the endings of its files.
    unfinished: Name of its files until then.
  """
  directory = os.path.dirname(path)
  start = os.path.join(directory, unfinished)
  checkpoint.write(start)
  for match in matches(directory, f"{unfinished}({DATA})"):
    _move(start + match[1], path + match[1])
  _move(f"{start}.index", f"{path}.index")


def remove(path: str) -> None:
  """Removes a checkpoint, and the files of replicas beside it."""
  directory, name = os.path.split(path)
  # The index is first: without it the checkpoint does not count.
  for suffix in (INDEX, DATA, f"{REPLICAS}({INDEX}|{DATA})"):
    _remove_all(directory, name + suffix)


def remove_unfinished(directory: str, name: str = UNFINISHED) -> None:
  """Removes what TensorFlow leaves of a checkpoint that it could not write.

  Args:
    directory: Directory of the checkpoint.
    name: Name that its files were written under.
  """
  _remove_all(directory, name + _PARTIAL)
  temporary = os.path.join(directory, f"{name}_temp")
  if tf.io.gfile.isdir(temporary):
    tf.io.gfile.rmtree(temporary)


def whole(directory: str) -> list[str]:
  """Returns the checkpoints with an index, in the order of their steps."""
  return _find(directory, INDEX)


def without_index(directory: str) -> list[str]:
  """Returns the checkpoints without an index, in the order of their steps."""
  paths = whole(directory)
  return [p for p in _find(directory, DATA) if p not in paths]


def path_of(directory: str, step: int) -> str:
  """Returns the path of the checkpoint of a step."""
  return os.path.join(directory, f"ckpt-{step}")


def step_of(path: str) -> int:
  """Returns the step of a checkpoint, given its path or its name."""
  return int(path.rpartition("-")[2])


def matches(directory: str, pattern: str) -> list[re.Match[str]]:
  """Returns the names in a directory that are all of a regular expression.

  The names are listed and compared. `tf.io.gfile.glob` would take the
  directory's own name for a part of the pattern, and find files of other runs.

  Args:
    directory: Where to look; a directory that is not there has no names.
    pattern: A regular expression.

  Returns:
    A match for each name.
  """
  try:
    names = tf.io.gfile.listdir(directory)
  except tf.errors.NotFoundError:
    return []
  # Names of directories in a bucket end in a slash.
  found = [re.fullmatch(pattern, name.rstrip("/")) for name in names]
  return [match for match in found if match]


def _find(directory, suffix):
  found = {match[1] for match in matches(directory, NAME + suffix)}
  return sorted((os.path.join(directory, name) for name in found), key=step_of)


def _move(source, target):
  tf.io.gfile.rename(source, target, overwrite=True)


def _remove_all(directory, pattern):
  """Removes the files whose names are all of a regular expression."""
  for match in matches(directory, pattern):
    tf.io.gfile.remove(os.path.join(directory, match[0]))
