"""Schedules of the learning rate and the slow step size, for all trainers."""

import dataclasses
from typing import Any

import keras
from keras import ops

SCHEDULES = ("constant", "cosine", "rsqrt", "step", "triangle")
UNITS = ("epochs", "steps", "runs")


@dataclasses.dataclass(frozen=True)
class LearningRate:
  """A learning rate as a function of the step; all lengths are in steps.

  Attributes:
    schedule: "constant"; "cosine", which falls to 0 at `total_steps`; "step",
      which is multiplied by `decay_factor` at each of `decay_at`; "rsqrt",
      which falls as 1 / sqrt(step) from the one step in `decay_at` on (Vaswani
      et al. 2017, section 5.3); or "triangle", which is linear from
      `start_factor` times the peak at step 0 to the peak at `warmup`, and from
      there to `end_factor` times the peak at `total_steps`.
    peak: The greatest rate, positive.
    warmup: In step i < `warmup`, counted from 0, the rate is multiplied by
      (i + 1) / `warmup` (Goyal et al. 2017, section 2.2); of "triangle" see
      above.
    decay_at: Steps, increasing.
    decay_factor: Of "step".
    start_factor: Of "triangle".
    end_factor: Of "triangle".
    total_steps: Training steps in all.
  """

  schedule: str
  peak: float
  warmup: float = 0
  decay_at: tuple[float, ...] = ()
  decay_factor: float = 0.1
  start_factor: float = 0.0
  end_factor: float = 0.0
  total_steps: int = 1

  def make_schedule(self) -> keras.optimizers.schedules.LearningRateSchedule:
    """Returns the schedule: a function of the step, counted from 0."""
    warmup = round(self.warmup)
    if self.schedule == "rsqrt":
      return ReciprocalSquareRoot(self.peak, self.decay_at[0], warmup)
    if self.schedule == "triangle":
      return Triangle(
        self.peak,
        warmup,
        self.total_steps,
        self.start_factor,
        self.end_factor,
      )
    schedule = {
      "constant": self._constant,
      "cosine": self._cosine,
      "step": self._step,
    }[self.schedule]()
    return LinearWarmup(schedule, warmup) if warmup else schedule

  def _constant(self):
    # PiecewiseConstantDecay needs one boundary: the same rate on both sides.
    return keras.optimizers.schedules.PiecewiseConstantDecay(
      [0], [self.peak, self.peak]
    )

  def _cosine(self):
    return keras.optimizers.schedules.CosineDecay(self.peak, self.total_steps)

  def _step(self):
    # Keras' boundaries are the last steps of the higher rate.
    return keras.optimizers.schedules.PiecewiseConstantDecay(
      [round(step) - 1 for step in self.decay_at],
      [self.peak * self.decay_factor**i for i in range(len(self.decay_at) + 1)],
    )


@keras.saving.register_keras_serializable(package="lookahead_tf.trainers")
class LinearWarmup(keras.optimizers.schedules.LearningRateSchedule):
  """Linear warmup (Goyal et al. 2017, section 2.2), then another schedule.

  Args:
    schedule: A LearningRateSchedule, a function of the step from 0 on.
    warmup_steps: In step i < warmup_steps the rate is that of `schedule`,
      times (i + 1) / warmup_steps.
  """

  def __init__(
    self,
    schedule: keras.optimizers.schedules.LearningRateSchedule,
    warmup_steps: int,
  ):
    self.schedule = schedule
    self.warmup_steps = warmup_steps

  def __call__(self, step: Any) -> Any:
    """Returns the learning rate of `step`, a float32 scalar."""
    progress = (ops.cast(step, "float32") + 1.0) / self.warmup_steps
    return self.schedule(step) * ops.minimum(progress, 1.0)

  def get_config(self) -> dict[str, Any]:
    """Returns the arguments, with the schedule serialized."""
    return {
      "schedule": keras.saving.serialize_keras_object(self.schedule),
      "warmup_steps": self.warmup_steps,
    }

  @classmethod
  def from_config(cls, config: dict[str, Any]) -> "LinearWarmup":
    """Creates a schedule from what `get_config` returned."""
    schedule = keras.saving.deserialize_keras_object(config["schedule"])
    return cls(schedule, config["warmup_steps"])


@keras.saving.register_keras_serializable(package="lookahead_tf.trainers")
class ReciprocalSquareRoot(keras.optimizers.schedules.LearningRateSchedule):
  """Linear warmup, a constant rate, then a fall as 1 / sqrt(s), s = step + 1.

  The rate is peak * min(1, s / warmup_steps) * sqrt(d / max(s, d)), where d is
  `decay_start`. With warmup_steps = d that is the schedule of Vaswani et al.
  2017, equation 3.

  Source: `learning_rate_schedule` in tensor2tensor/utils/learning_rate.py,
  where s is the step, so that the first update has the rate 0. The hparams
  `transformer_base` there have "constant*linear_warmup*rsqrt_decay*
  rsqrt_hidden_size" with the constant 2 and 8,000 steps: here a peak of 2 /
  sqrt(8,000 d_model), with both lengths 8,000. That is the older "noam" with
  learning_rate = .2, which for Adam multiplies by 5000 * .002 = 10.

  Args:
    peak: The greatest rate.
    decay_start: Step d from which the rate falls, 1 or more.
    warmup_steps: Length of the linear warmup, 0 for none.
  """

  def __init__(self, peak: float, decay_start: float, warmup_steps: int = 0):
    self.peak = peak
    self.decay_start = decay_start
    self.warmup_steps = warmup_steps

  def __call__(self, step: Any) -> Any:
    """Returns the learning rate of `step`, counted from 0: a float32 scalar."""
    s = ops.cast(step, "float32") + 1.0
    rate = ops.ones((), "float32") * self.peak
    if self.warmup_steps:
      rate *= ops.minimum(s / self.warmup_steps, 1.0)
    start = self.decay_start
    return rate * (ops.rsqrt(ops.maximum(s, float(start))) * start**0.5)

  def get_config(self) -> dict[str, Any]:
    """Returns the arguments."""
    return {
      "peak": self.peak,
      "decay_start": self.decay_start,
      "warmup_steps": self.warmup_steps,
    }


@keras.saving.register_keras_serializable(package="lookahead_tf.trainers")
class Triangle(keras.optimizers.schedules.LearningRateSchedule):
  """A rate that rises on a line to its peak, and falls on a line from there.

  Args:
    peak: The rate at `peak_step`.
    peak_step: Step of the greatest rate; 0 for a line that only falls.
    total_steps: Step of the last rate, which is kept from there on.
    start_factor: The rate at step 0, as a part of the peak.
    end_factor: The rate at `total_steps`, likewise.
  """

  def __init__(
    self,
    peak: float,
    peak_step: int,
    total_steps: int,
    start_factor: float = 0.0,
    end_factor: float = 0.0,
  ):
    self.peak, self.peak_step, self.total_steps = peak, peak_step, total_steps
    self.start_factor, self.end_factor = start_factor, end_factor

  def __call__(self, step: Any) -> Any:
    """Returns the learning rate of `step`, counted from 0: a float32 scalar."""
    step = ops.cast(step, "float32")
    # max: a peak at the first or at the last step has no line on that side.
    risen = ops.minimum(step / max(self.peak_step, 1), 1.0)
    if not self.peak_step:
      risen = ops.ones_like(step)
    length = max(self.total_steps - self.peak_step, 1)
    fallen = ops.clip((step - self.peak_step) / length, 0.0, 1.0)
    rise = self.start_factor + (1.0 - self.start_factor) * risen
    return self.peak * (rise - (1.0 - self.end_factor) * fallen)

  def get_config(self) -> dict[str, Any]:
    """Returns the arguments."""
    return {
      "peak": self.peak,
      "peak_step": self.peak_step,
      "total_steps": self.total_steps,
      "start_factor": self.start_factor,
      "end_factor": self.end_factor,
    }


@keras.saving.register_keras_serializable(package="lookahead_tf.trainers")
class FallingStepSize(keras.optimizers.schedules.LearningRateSchedule):
  """A slow step size that falls over a run, by a power of the updates done.

  With t of T updates done, the step size is
  start - (start - end) * (t / T) ** power. The synchronization that ends period
  p, counted from 0, has t = (p + 1) * sync_period.

  Source: the Lookahead of cifar10-airbench has start = 1, 1 - end = .95 ** 5
  and power = 3.

  Args:
    start: The step size before the first update, in [0, 1].
    end: The step size of a synchronization after the last update, in [0, 1].
    sync_period: Updates in a period.
    total_updates: Updates in the run.
    power: Positive; 1 for a line.

  Raises:
    ValueError: for a value out of its range.
  """

  def __init__(
    self,
    start: float,
    end: float,
    sync_period: int,
    total_updates: int,
    power: float = 1.0,
  ):
    for name, value in (
      ("slow_step_size", start),
      ("final_slow_step_size", end),
    ):
      if not 0.0 <= value <= 1.0:
        raise ValueError(f"`{name}` must be in [0, 1]. Received: {value!r}")
    if power <= 0:
      raise ValueError(f"`fall_power` must be positive. Received: {power!r}")
    self.start, self.end, self.power = start, end, power
    self.sync_period, self.total_updates = sync_period, total_updates

  def __call__(self, step: Any) -> Any:
    """Returns the step size of the period after `step` others, float32."""
    updates = (ops.cast(step, "float32") + 1.0) * self.sync_period
    part = ops.minimum(updates / self.total_updates, 1.0)
    return self.start - (self.start - self.end) * part**self.power

  def get_config(self) -> dict[str, Any]:
    """Returns the arguments."""
    return {
      "start": self.start,
      "end": self.end,
      "sync_period": self.sync_period,
      "total_updates": self.total_updates,
      "power": self.power,
    }


class Multiplied(keras.optimizers.schedules.LearningRateSchedule):
  """Another schedule, times variables: the rate can react to what happens.

  Args:
    schedule: A LearningRateSchedule.
    *factors: Float variables, scalars.
  """

  def __init__(
    self,
    schedule: keras.optimizers.schedules.LearningRateSchedule,
    *factors: Any,
  ):
    self.schedule, self.factors = schedule, factors

  def __call__(self, step: Any) -> Any:
    """Returns the learning rate of `step`, a float32 scalar."""
    rate = ops.cast(self.schedule(step), "float32")
    for factor in self.factors:
      rate *= ops.convert_to_tensor(factor)
    return rate
