"""Learning rate schedules in the words of tensor2tensor."""

from typing import Any

import keras
from keras import ops

from trainers.errors import UserError

_NAMES = (
  "constant",
  "linear_warmup",
  "rsqrt_decay",
  "rsqrt_normalized_decay",
  "rsqrt_hidden_size",
)


@keras.saving.register_keras_serializable(package="lookahead_tf.trainers")
class Factors(keras.optimizers.schedules.LearningRateSchedule):
  """A product of factors, each a function of s = step + 1.

  - constant: `constant`
  - linear_warmup: min(1, s / warmup_steps)
  - rsqrt_decay: 1 / sqrt(max(s, warmup_steps))
  - rsqrt_normalized_decay: the same times sqrt(warmup_steps), so that its
    greatest value is 1
  - rsqrt_hidden_size: 1 / sqrt(hidden_size)

  So "constant*rsqrt_normalized_decay" is constant for `warmup_steps`, without a
  warmup, and then decays.

  Source: `learning_rate_schedule` in tensor2tensor/utils/learning_rate.py,
  where s is the step, so that the first update has the rate 0. The hparams
  `transformer_base` there have
  "constant*linear_warmup*rsqrt_decay*rsqrt_hidden_size", constant 2 and 8,000
  steps. The same schedule has the constant 2 / sqrt(8000) = .0224 with
  "rsqrt_normalized_decay", and is their older "noam" with learning_rate = .2,
  which for Adam multiplies by 5000 * .002 = 10.

  Args:
    factors: Names of factors, joined by "*".
    constant: A number, positive.
    warmup_steps: A number of steps, at least 1.
    hidden_size: Width of the model.

  Raises:
    UserError: if there is no such factor, or for a number out of range.
  """

  def __init__(
    self,
    factors: str,
    constant: float,
    warmup_steps: int,
    hidden_size: int,
  ):
    self.names = tuple(name.strip() for name in factors.split("*"))
    self.constant = constant
    self.warmup_steps = warmup_steps
    self.hidden_size = hidden_size
    if not set(self.names) <= set(_NAMES):
      raise UserError(
        f"learning_rate.factors must be some of {', '.join(_NAMES)}, joined by "
        f"'*'. Received: {factors!r}"
      )
    if constant <= 0 or warmup_steps < 1:
      raise UserError(
        "learning_rate.constant must be positive and learning_rate.warmup_steps"
        f" at least 1. Received: constant={constant}, "
        f"warmup_steps={warmup_steps}"
      )

  def __call__(self, step: Any) -> Any:
    """Returns the learning rate of `step`, counted from 0: a float32 scalar."""
    s = ops.cast(step, "float32") + 1.0
    decay = ops.rsqrt(ops.maximum(s, float(self.warmup_steps)))
    values = {
      "constant": self.constant,
      "linear_warmup": ops.minimum(s / self.warmup_steps, 1.0),
      "rsqrt_decay": decay,
      "rsqrt_normalized_decay": decay * self.warmup_steps**0.5,
      "rsqrt_hidden_size": self.hidden_size**-0.5,
    }
    rate = ops.ones((), "float32")
    for name in self.names:
      rate *= values[name]
    return rate

  def get_config(self) -> dict[str, Any]:
    """Returns the arguments."""
    return {
      "factors": "*".join(self.names),
      "constant": self.constant,
      "warmup_steps": self.warmup_steps,
      "hidden_size": self.hidden_size,
    }
