"""Where the slow step size, the paper's alpha, comes from."""

from typing import Any

import keras
from keras import ops

from lookahead_tf import arguments, keras_internals, nesting
from lookahead_tf.backends import backend


class FixedStepSize:
  """One number, which may be assigned to while training.

  Attributes:
    initial: Float in [0, 1]: the step size before the first synchronization.
  """

  def __init__(self, initial: float):
    self.initial = initial

  def check_inner_optimizer(self, inner_optimizer):
    """Every optimizer will do."""

  def at(self, optimizer: Any, update: list[tuple[Any, Any]], due: Any) -> Any:
    """Returns the step size of a synchronization, a scalar.

    Args:
      optimizer: The Lookahead, after an inner update.
      update: The (gradient, variable) pairs of that update.
      due: Scalar boolean: whether the result will be used.
    """
    del update, due
    return ops.convert_to_tensor(optimizer.last_step_size)

  def now(self, optimizer: Any) -> Any:
    """Returns what to show as the step size, a scalar."""
    return optimizer.last_step_size

  def serialized(self) -> dict[str, Any] | None:
    """Returns what `from_argument` restores; None for the number `now`."""
    return None


class OuterStepSize(FixedStepSize):
  """The learning rate of the outer optimizer; 1 for a rule that has none.

  Args:
    optimizer: The outer optimizer, or a rule without a learning rate.
  """

  def __init__(self, optimizer: Any):
    self._optimizer = optimizer
    super().__init__(float(ops.convert_to_numpy(self._rate())))

  def _rate(self):
    return getattr(self._optimizer, "learning_rate", 1.0)

  def at(self, optimizer: Any, update: list[tuple[Any, Any]], due: Any) -> Any:
    """Returns the learning rate, a scalar."""
    del update, due
    return ops.cast(self._rate(), optimizer.last_step_size.dtype)

  def now(self, optimizer: Any) -> Any:
    """Returns the learning rate, a scalar."""
    del optimizer
    return self._rate()


class ScheduledStepSize(FixedStepSize):
  """A schedule over the periods done, clipped to [0, 1]."""

  def __init__(self, schedule: keras.optimizers.schedules.LearningRateSchedule):
    self._schedule = schedule
    super().__init__(float(self.after(0)))

  def after(self, periods: Any) -> Any:
    """Returns the step size of the period after `periods` others."""
    return ops.clip(self._schedule(periods), 0.0, 1.0)

  def at(self, optimizer: Any, update: list[tuple[Any, Any]], due: Any) -> Any:
    """Returns the step size of a synchronization, a scalar."""
    del update, due
    return self.after(optimizer.periods_done)

  def now(self, optimizer: Any) -> Any:
    """Returns the step size of the period under way, a scalar."""
    return self.after(optimizer.periods_done)

  def serialized(self) -> dict[str, Any]:
    """Returns the schedule, serialized."""
    return keras.optimizers.schedules.serialize(self._schedule)


@keras.saving.register_keras_serializable(package="lookahead_tf")
class AdaptiveStepSize(FixedStepSize):
  """The step size that is best where the loss is quadratic.

  On L(x) = 1/2 x'Ax - b'x the point of the line from phi to theta with the
  least loss is that of alpha = (phi - x*)' A d / (d' A d), d = phi - theta.
  The minimiser x* is unknown; from theta it is estimated as one Newton step
  away, theta - A^-1 g, where g is the gradient. This gives

    alpha = 1 + d' g / (d' A d)

  with the diagonal empirical Fisher information for A, which the inner
  optimizer keeps: its second moment, freed of its bias towards zero. g is the
  gradient of the last update of the period, as it was handed to the optimizer;
  one at theta itself would cost a backward pass more. All variables with slow
  weights have one alpha. It is clipped to [lower, 1].

  Args:
    lower: Float in [0, 1], the least step size. The paper gives no value.

  Raises:
    TypeError: if `lower` is no number.
    ValueError: if `lower` is not in [0, 1].

  Reference:
    Section 2.1 of the paper (https://arxiv.org/abs/1907.08610), which finds a
    fixed step size as good.
  """

  def __init__(self, lower: float = 0.0):
    self.lower = arguments.fraction("lower", lower)
    super().__init__(self.lower)

  def check_inner_optimizer(self, inner_optimizer):
    """Raises a ValueError if the optimizer has no second moment to use."""
    innermost = _innermost(inner_optimizer)
    if keras_internals.second_moment(innermost) is None:
      raise ValueError(
        "`slow_step_size=AdaptiveStepSize()` needs an inner optimizer with a "
        "second-moment estimate, one of "
        f"{', '.join(keras_internals.SECOND_MOMENTS)}. "
        f"Received: inner_optimizer={innermost!r}"
      )

  def at(self, optimizer: Any, update: list[tuple[Any, Any]], due: Any) -> Any:
    """Returns the step size of a synchronization, a scalar."""
    zero = ops.zeros((), optimizer.last_step_size.dtype)
    slope, curvature = ops.cond(
      due,
      lambda: _slope_and_curvature(optimizer, update, zero.dtype),
      lambda: (zero, zero),
    )
    # Gradients are those of one replica, weights are those of all.
    slope = backend.sum_over_replicas(slope)
    moved = ops.greater(curvature, 0)
    ratio = slope / ops.where(moved, curvature, ops.ones_like(curvature))
    alpha = ops.where(moved, 1.0 + ratio, ops.ones_like(ratio))
    return ops.clip(alpha, self.lower, 1.0)

  def serialized(self) -> dict[str, Any]:
    """Returns this object, serialized."""
    return keras.saving.serialize_keras_object(self)

  def get_config(self) -> dict[str, Any]:
    """Returns the arguments."""
    return {"lower": self.lower}

  @classmethod
  def from_config(cls, config: dict[str, Any]) -> "AdaptiveStepSize":
    """Creates one from what `get_config` returned."""
    return cls(**config)


def _slope_and_curvature(optimizer, update, dtype):
  """Returns d' g and d' A d over all variables with slow weights."""
  innermost = _innermost(optimizer)
  moments, decay = keras_internals.second_moment(innermost)
  updates = ops.cast(innermost.iterations, dtype)
  bias = 1.0 - ops.power(ops.cast(decay, dtype), updates)
  slope, curvature = ops.zeros((), dtype), ops.zeros((), dtype)
  for gradient, fast in update:
    slow = optimizer.slow_of(fast)
    if slow is None or gradient is None:
      continue
    # The inner optimizer may have been built before, in another order.
    moment = moments[keras_internals.index_of(innermost, fast)]
    d = ops.cast(slow, dtype) - ops.cast(fast, dtype)
    gradient = ops.cast(ops.convert_to_tensor(gradient), dtype)
    slope += ops.sum(d * gradient)
    curvature += ops.sum(d * d * ops.cast(moment, dtype))
  return slope / (innermost.loss_scale_factor or 1.0), curvature / bias


def _innermost(optimizer):
  """Returns what is inside all wrappers that hold one optimizer."""
  inner = list(nesting.children(optimizer))
  while len(inner) == 1:
    (optimizer,) = inner
    inner = list(nesting.children(optimizer))
  return optimizer


def from_argument(value: Any) -> FixedStepSize:
  """Returns the rule that the argument `slow_step_size` stands for.

  Args:
    value: Float in [0, 1], a LearningRateSchedule or an AdaptiveStepSize, or
      what one of these was serialized to.

  Raises:
    TypeError: if `value` is none of these.
    ValueError: if `value`, or the first value of the schedule, is not in
      [0, 1].
  """
  if isinstance(value, dict):
    value = keras.saving.deserialize_keras_object(value)
  if isinstance(value, AdaptiveStepSize):
    return value
  value = arguments.slow_step_size(value)
  is_fixed = isinstance(value, float)
  return FixedStepSize(value) if is_fixed else ScheduledStepSize(value)
