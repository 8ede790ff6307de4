"""SIGTERM, by which clusters announce that they take a machine back."""

import signal
from collections.abc import Callable

import tensorflow as tf

# EX_TEMPFAIL of sysexits.h: the same command will succeed, run it again.
EXIT_STATUS = 75


class Interrupted(Exception):
  """Training stopped for a SIGTERM, after a checkpoint; the message says so."""


class Watch:
  """Remembers a SIGTERM instead of dying of it, while it is entered.

  A context manager; for the main thread, which alone receives signals.

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


def make_agreement(
  strategy: tf.distribute.Strategy,
) -> Callable[[bool], bool]:
  """Returns a function that is true in all workers if it is called so in one.

  Workers that stop at different steps would wait for one another forever. With
  one process it returns what it is given.
  """
  if not strategy.extended._in_multi_worker_mode():
    return lambda is_requested: is_requested

  @tf.function
  def count(is_requested):
    def one_replica():
      context = tf.distribute.get_replica_context()
      # A copy on this replica's device, where the reduction looks for it.
      mine = tf.identity(is_requested)
      return context.all_reduce(tf.distribute.ReduceOp.SUM, mine)

    return strategy.experimental_local_results(strategy.run(one_replica))[0]

  return lambda is_requested: bool(count(tf.constant(float(is_requested))) > 0)
