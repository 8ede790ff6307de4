"""Mistakes of the user, which a program reports as one sentence."""

import contextlib
import re
from collections.abc import Callable, Iterator

import tensorflow as tf


class UserError(Exception):
  """Something that the user can put right; the message says how."""


@contextlib.contextmanager
def writing(
  path: str,
  on_error: Callable[[], None] = lambda: None,
  resumes: bool = True,
) -> Iterator[None]:
  """Within it a failure to write a file, as on a full disk, is a UserError.

  Args:
    path: What is written.
    on_error: Called after a failure, to remove what it has left.
    resumes: Whether the program goes on from a checkpoint when run again.
  """
  try:
    yield
  except (OSError, tf.errors.OpError) as error:
    with contextlib.suppress(OSError, tf.errors.OpError):
      on_error()
    remedy = (
      "Make room, and run the same command again: it goes on from the last "
      "checkpoint."
      if resumes
      else "Make room, or give another path."
    )
    raise UserError(
      f"{path} cannot be written: {first_line(error)}. {remedy}"
    ) from error


@contextlib.contextmanager
def explaining_input(explain: Callable[[], UserError | None]) -> Iterator[None]:
  """Within it an error of the input is what `explain` returns.

  Args:
    explain: Called after an error such as an unreadable file causes. Returns
      what is wrong, or None if it is not the input; then the error goes on.
  """
  try:
    yield
  except (
    tf.errors.DataLossError,
    tf.errors.InvalidArgumentError,
    tf.errors.NotFoundError,
  ) as error:
    raise explain() or error from None


def reason(error: tf.errors.OpError) -> str:
  """Returns what an operation says without where TensorFlow was in it."""
  frame = (
    r"\{\{.*?\}\} ?|Error in user-defined function .*?: \S+: |\[\[.*|\[Op:.*"
    r"|\bValueError: |(?s:\s*Traceback \(most recent call last\):.*)"
  )
  return re.sub(frame, "", error.message).strip()


def first_line(error: Exception) -> str:
  """Returns the first line of an error's message, shortened."""
  return str(error).strip().split("\n")[0][:300]


def describe_config_error(error: Exception) -> str:
  """Returns in a sentence what ml_collections says of a wrong override."""
  message = " ".join(str(error).replace("\\n", " ").split())
  misspelt = re.fullmatch(
    r"""["']*(?:\\')?(\w+)(?:\\')?["']*( Did .*)?""", message
  )
  if misspelt:
    suggestion = (misspelt[2] or "").rstrip("'")
    return f"the config has no field {misspelt[1]!r}.{suggestion}"
  # Some errors go on with the whole config.
  return f"an override does not fit the config: {message[:300]}"
