"""Ends of a run from outside, after which the same command goes on."""

import contextlib
import signal
import sys
from collections.abc import Iterator

import tensorflow as tf

from trainers.errors import UserError

# EX_TEMPFAIL of sysexits.h: the same command will succeed, run it again.
EXIT_STATUS = 75


class Interrupted(Exception):
  """Training stopped through no fault of its own; the message says why."""


class Watch:
  """Remembers a SIGTERM instead of dying of it, while it is entered.

  Clusters announce by it that they take a machine back. A context manager; for
  the main thread, which alone receives signals.

  Attributes:
    is_requested: Whether a SIGTERM came.
  """

  def __init__(self):
    self.is_requested = False

  def _remember(self, number, frame):
    self.is_requested = True

  def __enter__(self) -> "Watch":
    self._before = signal.signal(signal.SIGTERM, self._remember)
    return self

  def __exit__(self, *exception):
    signal.signal(signal.SIGTERM, self._before)


@contextlib.contextmanager
def ending_the_program() -> Iterator[None]:
  """Within it what a user can put right ends the program with its sentence.

  A UserError exits with status 1, an Interrupted with EXIT_STATUS.
  """
  try:
    yield
  except UserError as error:
    sys.exit(f"Error: {error}")
  except Interrupted as stop:
    print(stop, file=sys.stderr)
    sys.exit(EXIT_STATUS)


@contextlib.contextmanager
def of_lost_hosts(strategy: tf.distribute.Strategy) -> Iterator[None]:
  """Within it the loss of another host of the strategy is an Interrupted."""
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
      "Another host of this run was lost; run the same command again on all of "
      f"them to go on from the last checkpoint. ({type(error).__name__})"
    ) from error
