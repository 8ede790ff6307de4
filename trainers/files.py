"""Files and paths: written whole or not at all, and not taken for patterns."""

import contextlib
import os
import re
from collections.abc import Callable, Iterator

import tensorflow as tf

from trainers.errors import UserError, first_line

# Characters that have a meaning of their own in a pattern of file names.
_SPECIAL = re.compile(r"[][*?\\]")
# Ends of the names of files that hold files.
_ARCHIVES = (
  *(".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst"),
  *(".7z", ".rar"),
)


def expand(path: str) -> str:
  """Returns a path whose leading `~` or `~USER` is that home directory.

  A shell leaves the `~` of --workdir=~/runs as it is. A directory of that name
  is ./~.
  """
  return os.path.expanduser(path)


def check_no_pattern(**paths: str | None) -> None:
  r"""Raises a UserError for a path that TensorFlow would take for a pattern.

  TensorFlow looks for the files of a checkpoint, and so of a saved model, by a
  pattern: it does not find the files of exp[12], and reads those of exp1
  instead (https://github.com/tensorflow/tensorflow/issues/34290).

  Args:
    **paths: Where a checkpoint or a saved model is or will be, by the names of
      the flags. None is no path.
  """
  for name, path in paths.items():
    if path and (found := sorted(set(_SPECIAL.findall(path)))):
      raise UserError(
        f"--{name}={path} must be a path without {' and '.join(found)}: "
        "TensorFlow takes the path of a checkpoint for a pattern of file "
        r"names, in which [ ] * ? \ mean something else."
      )


def check_data_dir(path: str) -> None:
  """Raises a UserError unless `path`, of --data_dir, is a directory."""
  if not tf.io.gfile.isdir(path):
    raise UserError(
      f"--data_dir={path} is not a directory.{tell_archives(path)}"
    )


def tell_archives(path: str | None) -> str:
  """Returns a sentence on archives that stand where data is missing.

  Args:
    path: A directory that lacks data, or what was given in its place.

  Returns:
    The sentence, with a space in front; "" where there is no archive.
  """
  if not path:
    return ""
  if path.lower().endswith(_ARCHIVES):
    return f" {path} is an archive: unpack it, and give the directory."
  try:
    names = sorted(tf.io.gfile.listdir(path))
  except tf.errors.OpError:  # Whoever looks for the data tells that.
    return ""
  archives = [name for name in names if name.lower().endswith(_ARCHIVES)]
  if not archives:
    return ""
  return (
    f" {os.path.join(path, archives[0])} is an archive: if the data is in it, "
    "unpack it first."
  )


@contextlib.contextmanager
def writing(
  path: str,
  on_error: Callable[[], None] = lambda: None,
  resumes: bool = True,
) -> Iterator[None]:
  """Returns a context manager that turns a failed write into a UserError.

  Args:
    path: The file, named in the message.
    on_error: Called after a failure, such as a full disk, or a Ctrl-C, to
      remove what was left.
    resumes: Whether the program goes on from a checkpoint when run again.
  """
  try:
    yield
  except (KeyboardInterrupt, OSError, tf.errors.OpError) as error:
    with contextlib.suppress(OSError, tf.errors.OpError):
      on_error()
    if isinstance(error, KeyboardInterrupt):
      raise
    # TensorFlow's message is "the path, of a temporary file; the reason".
    reason = first_line(error).rpartition("; ")[2]
    if isinstance(error, OSError) and error.strerror:
      reason = error.strerror
    is_full = re.search("space|quota|large", reason, re.IGNORECASE)
    remedy = "Make room" if is_full else "Put that right"
    remedy += (
      ", and run the same command again: it goes on from the last checkpoint."
      if resumes
      else ", or give another path."
    )
    raise UserError(f"{path} cannot be written: {reason}. {remedy}") from error


def write_whole(path: str, content: str | bytes) -> None:
  """Writes a file so that a reader sees all of it or nothing.

  A failure or a Ctrl-C leaves nothing behind.

  Raises:
    tf.errors.OpError: if the file cannot be written; see `writing`.
  """
  temporary = f"{path}.tmp"
  mode = "wb" if isinstance(content, bytes) else "w"
  try:
    with tf.io.gfile.GFile(temporary, mode) as file:
      file.write(content)
    tf.io.gfile.rename(temporary, path, overwrite=True)
  except (KeyboardInterrupt, tf.errors.OpError):
    with contextlib.suppress(tf.errors.OpError):
      tf.io.gfile.remove(temporary)
    raise
