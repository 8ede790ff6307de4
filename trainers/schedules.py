"""Learning rate schedules by epochs, from a config."""

from typing import Any

import keras
import ml_collections
from keras import ops

from trainers.errors import UserError


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


def _constant(config, steps_per_epoch, total_steps):
  del steps_per_epoch, total_steps
  # PiecewiseConstantDecay needs one boundary: the same rate on both sides.
  return keras.optimizers.schedules.PiecewiseConstantDecay(
    [0], [config.peak, config.peak]
  )


def _step(config, steps_per_epoch, total_steps):
  del total_steps
  epochs = list(config.decay_epochs)
  if not epochs or epochs != sorted(set(epochs)):
    raise UserError(
      "learning_rate.decay_epochs must be increasing epochs, such as "
      f"(60, 120, 160). Received: {epochs}"
    )
  # Keras' boundaries are the last steps of the higher rate.
  return keras.optimizers.schedules.PiecewiseConstantDecay(
    [round(epoch * steps_per_epoch) - 1 for epoch in epochs],
    [config.peak * config.decay_factor**i for i in range(len(epochs) + 1)],
  )


def _cosine(config, steps_per_epoch, total_steps):
  del steps_per_epoch
  return keras.optimizers.schedules.CosineDecay(config.peak, total_steps)


_SCHEDULES = {"constant": _constant, "step": _step, "cosine": _cosine}


def make_schedule(
  config: ml_collections.ConfigDict, steps_per_epoch: int, total_steps: int
) -> keras.optimizers.schedules.LearningRateSchedule:
  """Returns the schedule that `config`, a config's `learning_rate`, describes.

  Args:
    config: Fields `schedule` ("constant", "step" or "cosine"), `peak`,
      `warmup_epochs`; for "step" also `decay_epochs` and `decay_factor`.
    steps_per_epoch: Training steps in an epoch.
    total_steps: Training steps in all; cosine decay reaches 0 there.

  Raises:
    UserError: if there is no such schedule or a value makes no sense.
  """
  if config.schedule not in _SCHEDULES:
    raise UserError(
      f"learning_rate.schedule must be one of {sorted(_SCHEDULES)}. "
      f"Received: {config.schedule!r}"
    )
  if config.peak <= 0 or config.warmup_epochs < 0:
    raise UserError(
      "learning_rate.peak must be positive and learning_rate.warmup_epochs not "
      f"negative. Received: peak={config.peak}, "
      f"warmup_epochs={config.warmup_epochs}"
    )
  schedule = _SCHEDULES[config.schedule](config, steps_per_epoch, total_steps)
  warmup_steps = round(config.warmup_epochs * steps_per_epoch)
  return LinearWarmup(schedule, warmup_steps) if warmup_steps else schedule
