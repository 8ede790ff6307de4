"""Paths that the user gives: the home directory, and what TensorFlow globs."""

import os
import re

from absl import flags

from trainers.errors import UserError

# What has a meaning of its own in a pattern of file names.
_SPECIAL = re.compile(r"[][*?\\]")


class PathParser(flags.ArgumentParser):
  """Parses the value of a flag that is a path: `~` is the home directory.

  A shell leaves the `~` of --workdir=~/runs as it is. A directory of that name
  is ./~.
  """

  def parse(self, argument: str) -> str:
    """Returns the path."""
    return expand(argument)

  def flag_type(self) -> str:
    """Returns what --help says of the value."""
    return "path"


def expand(path: str) -> str:
  """Returns a path whose leading `~` or `~USER` is that home directory."""
  return os.path.expanduser(path)


def check_no_pattern(**paths: str | None) -> None:
  r"""Raises a UserError for a path that TensorFlow would take for a pattern.

  A checkpoint, and so a saved model, is looked for by a pattern: TensorFlow
  does not find the files of exp[12], and reads those of exp1 instead
  (https://github.com/tensorflow/tensorflow/issues/34290).

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
