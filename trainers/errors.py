"""Errors that end a program with one sentence instead of a traceback.

A mistake of the user is a UserError. A stop that the user did not ask for, such
as a SIGTERM, is an Interrupted: the same command goes on from the last
checkpoint. A Ctrl-C is a KeyboardInterrupt, as in all of Python.
"""

import contextlib
import re
import signal
import sys
import warnings
from collections.abc import Callable, Iterator

import tensorflow as tf

from trainers import signals

# EX_TEMPFAIL of sysexits.h: the same command will succeed, run it again.
EXIT_STATUS = 75


class UserError(Exception):
  """Something that the user can put right; the message says how."""


class Diverged(UserError):
  """Training diverged: the loss or a weight makes no sense any more."""


class Interrupted(Exception):
  """Training stopped, and the same command goes on; the message says why."""


@contextlib.contextmanager
def ending_the_program() -> Iterator[None]:
  """Returns a context manager that turns errors into the end of the program.

  A UserError exits with status 1, an Interrupted with EXIT_STATUS, and a
  KeyboardInterrupt as if SIGINT had no handler. Each prints its message to
  stderr. Warnings are a line there, without the code that warns. Another Ctrl-C
  while the program ends from a first one ends it at once.
  """
  with _short_warnings(), signals.ending_at_second_ctrl_c():
    try:
      yield
    except UserError as error:
      sys.exit(f"Error: {error}")
    except tf.errors.ResourceExhaustedError as error:
      sys.exit(
        f"Error: out of memory: {first_line(error)}. Make the batch, the "
        "images or the model smaller."
      )
    except Interrupted as stop:
      print(stop, file=sys.stderr)
      sys.exit(EXIT_STATUS)
    except KeyboardInterrupt as stop:
      signals.end_by_ctrl_c(stop)


def stopped_by(number: int, sentence: str) -> BaseException:
  """Returns what to raise after a signal, when all is saved.

  Args:
    number: Of the signal.
    sentence: For the user.

  Returns:
    A KeyboardInterrupt for SIGINT, else an Interrupted.
  """
  kind = KeyboardInterrupt if number == signal.SIGINT else Interrupted
  return kind(sentence)


@contextlib.contextmanager
def saying_how_to_go_on() -> Iterator[None]:
  """Returns a context manager that gives a Ctrl-C a message if it has none."""
  try:
    yield
  except KeyboardInterrupt as stop:
    if stop.args:
      raise
    raise KeyboardInterrupt(
      "Stopped by Ctrl-C: run the same command again to go on."
    ) from None


@contextlib.contextmanager
def _short_warnings():
  """Returns a context manager in which a warning for users is one line."""
  before = warnings.formatwarning

  def short(message, category, *rest, **options):
    if category is UserWarning:
      return f"Warning: {message}\n"
    return before(message, category, *rest, **options)

  warnings.formatwarning = short
  try:
    yield
  finally:
    warnings.formatwarning = before


@contextlib.contextmanager
def interrupted_by_lost_hosts(
  strategy: tf.distribute.Strategy,
) -> Iterator[None]:
  """Returns a context manager that raises Interrupted if another host is lost.

  Args:
    strategy: With a strategy of one process, errors stay as they are.
  """
  try:
    yield
  except (
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.UnavailableError,
  ) as error:
    is_alone = isinstance(
      strategy,
      (tf.distribute.OneDeviceStrategy, tf.distribute.MirroredStrategy),
    )
    if is_alone:
      raise
    raise Interrupted(
      "Another host of this run was lost; run the same command again on all "
      f"hosts to go on from the last checkpoint. ({type(error).__name__})"
    ) from error


@contextlib.contextmanager
def explaining_input(
  find_unreadable: Callable[[], UserError | None],
) -> Iterator[None]:
  """Returns a context manager that explains errors which the input may cause.

  Args:
    find_unreadable: Called after such an error. Its UserError is raised
      instead; if it returns None, the input is not the cause and the error goes
      on.
  """
  try:
    yield
  except (
    tf.errors.DataLossError,
    tf.errors.InvalidArgumentError,
    tf.errors.NotFoundError,
  ) as error:
    raise find_unreadable() or error from None


def reason(error: tf.errors.OpError) -> str:
  """Returns the message of an operation without its place in the graph."""
  frame = (
    r"\{\{.*?\}\} ?|Error in user-defined function .*?: \S+: |\[\[.*|\[Op:.*"
    r"|\bValueError: |(?s:\s*Traceback \(most recent call last\):.*)"
  )
  return re.sub(frame, "", error.message).strip()


def first_line(error: Exception) -> str:
  """Returns the first line of an error's message, at most 300 characters.

  The message of an operation's error comes without its place in the graph.
  """
  text = reason(error) if isinstance(error, tf.errors.OpError) else str(error)
  return text.strip().split("\n")[0][:300]
