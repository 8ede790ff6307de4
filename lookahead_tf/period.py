"""One period of Lookahead: how many updates it has, and when it is over.

docs/design.md draws a period with its states.
"""

import functools
from typing import Any

import keras
from keras import ops

from lookahead_tf import nesting
from lookahead_tf.wrapper import OptimizerWrapper

# Updates made in a period that the next update starts, from the weights which
# the model then has.
_TO_START = -1


class Period:
  """Counts the updates of the inner optimizer, from 0 to the last of a period.

  Args:
    optimizer: The Lookahead. It holds the two variables, integer scalars.
    length: The number of updates in a period, the paper's k.
  """

  def __init__(self, optimizer: OptimizerWrapper, length: int):
    self._assign = optimizer.assign
    self._length = optimizer.add_scalar("sync_period", length, "int")
    self.counter = optimizer.add_scalar("updates_in_period", _TO_START, "int")

  def is_to_start(self) -> Any:
    """Returns whether the next update starts a period, a boolean scalar."""
    return ops.less(self.counter, 0)

  def start(self) -> tuple[Any, int]:
    """Returns the assignment, (variable, value), that starts a period."""
    return self.counter, 0

  def restart(self) -> tuple[Any, int]:
    """Returns the assignment by which the next update starts a period."""
    return self.counter, _TO_START

  def count(self, updates: Any) -> Any:
    """Counts updates that were made, and ends the period behind the last one.

    Args:
      updates: Integer scalar, 0 or 1.

    Returns:
      Boolean scalar: whether the period is over, so that a synchronization is
      due.
    """
    updates = ops.add(self.counter, updates)
    due = ops.greater_equal(updates, self._length)
    counted = ops.where(due, ops.zeros_like(updates), updates)
    self._assign(self.counter, counted)
    return due

  @property
  def updates(self) -> int:
    """The number of updates made; negative where the next one starts it."""
    return int(ops.convert_to_numpy(self.counter))

  @property
  def length(self) -> int:
    """The number of updates in a period, to read and to assign."""
    return int(ops.convert_to_numpy(self._length))

  @length.setter
  def length(self, value):
    self._length.assign(value)


def read_counts(optimizer: keras.optimizers.Optimizer) -> list[Any]:
  """Returns the updates made so far by each optimizer that may count them.

  Args:
    optimizer: The inner optimizer. One of one's own that is around others may
      leave counting to them.
  """
  return [ops.copy(each.iterations) for each in _counting(optimizer)]


def updates_since(
  counts: list[Any], optimizer: keras.optimizers.Optimizer
) -> Any:
  """Returns how many updates one call of an optimizer made, a scalar, 0 or 1.

  Args:
    counts: What `read_counts` returned before the call.
    optimizer: The inner optimizer.
  """
  counts_now = read_counts(optimizer)
  updates = functools.reduce(ops.maximum, map(ops.subtract, counts_now, counts))
  if any(each.gradient_accumulation_steps for each in _counting(optimizer)):
    return updates
  # After a call, one that counts at all is not at 0: each call is an update.
  never = ops.equal(functools.reduce(ops.maximum, counts_now), 0)
  return ops.where(never, ops.ones_like(updates), updates)


def _counting(optimizer):
  """Returns the optimizers that may count the updates of `optimizer`."""
  while isinstance(optimizer, OptimizerWrapper):
    optimizer = optimizer.inner_optimizer
  return [optimizer, *nesting.innermost(optimizer)]
