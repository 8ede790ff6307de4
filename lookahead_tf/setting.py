"""A number of the slow step that is assigned to, or follows a schedule."""

from typing import Any

import keras
from keras import ops

from lookahead_tf import arguments, synchronization

# A momentum of 0 is saved as this number. With 0, loading would create no
# momentum buffers, and the file would not fit. No weight shows the difference.
_AS_GOOD_AS_0 = 1e-30


class Setting:
  """A number in [0, 1), which may change from period to period.

  Args:
    lookahead: The Lookahead. It holds the variable of a number that may be
      assigned to, and counts the periods for a schedule.
    name: Name of the argument.
    value: Float, or a LearningRateSchedule over the periods done.
  """

  def __init__(self, lookahead: Any, name: str, value: Any):
    self._lookahead, self._argument = lookahead, name
    self._schedule = self._variable = None
    if isinstance(value, keras.optimizers.schedules.LearningRateSchedule):
      self._schedule = value
    else:
      dtype = synchronization.wide(keras.config.floatx())
      self._variable = lookahead.add_scalar(name, value, dtype)

  def now(self) -> Any:
    """Returns the number in the period under way, a scalar tensor."""
    if self._schedule is None:
      return ops.convert_to_tensor(self._variable)
    number = self._schedule(self._lookahead.periods_done)
    return ops.clip(number, 0.0, arguments.BELOW_1)

  def to_float(self) -> float:
    """Returns the number in the period under way."""
    # By way of the shortest decimal: 0.9, not 0.8999999761581421.
    return float(str(ops.convert_to_numpy(self.now())))

  def assign(self, value: float) -> None:
    """Assigns a number.

    Raises:
      TypeError: if the number follows a schedule.
    """
    if self._schedule is not None:
      raise TypeError(
        f"`{self._argument}` can be assigned to only if the optimizer was made "
        f"with a float. It was made with: {self._schedule!r}"
      )
    self._variable.assign(value)

  def serialized(self) -> Any:
    """Returns the number, or the schedule, serialized."""
    if self._schedule is None:
      return self.to_float() or _AS_GOOD_AS_0
    return keras.optimizers.schedules.serialize(self._schedule)
