"""Whether training makes sense: losses and weights that end a run if not."""

import math
from collections.abc import Mapping

import keras
import tensorflow as tf

from trainers import errors
from trainers.checkpoints import Checkpoints

# How many times the loss before the first step a loss may be. A model that
# learns stays far below: in float32 no probability but 0 is less than e**-104,
# which is a loss of 104, and for two classes this limit is 6,931.
_TIMES_GUESSING = 10_000


class Guard:
  """Raises a Diverged where losses or weights make no sense.

  Args:
    model: In training.
    optimizer: Its optimizer; errors tell its learning rate.
    checkpoints: Checkpoints of the run; errors tell the last good one.
    guessing_loss: As in `loop.Task`; None if unknown.

  Attributes:
    loss_limit: A greater loss makes no sense; infinity without guessing_loss.
  """

  def __init__(
    self,
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    checkpoints: Checkpoints,
    guessing_loss: float | None,
  ):
    self._model, self._optimizer = model, optimizer
    self._checkpoints = checkpoints
    self._guessing_loss = guessing_loss
    self.loss_limit = _TIMES_GUESSING * (guessing_loss or math.inf)

  def check_means(
    self, values: Mapping[str, float], step: int, count: int, sane: int
  ) -> None:
    """Raises a Diverged if the means over `count` steps make no sense.

    Args:
      values: Means over these steps, by name.
      step: The last step before them.
      count: Number of these steps.
      sane: Number of steps before the first that makes no sense.
    """
    if sane == count:
      return
    wrong = [n for n, value in values.items() if not math.isfinite(value)]
    remark = ""
    if not wrong:
      # A mean within the limit is no reason, though single steps are beyond it.
      if values["train/loss"] <= self.loss_limit:
        return
      wrong = ["train/loss"]
      remark = (
        f". A loss of more than {_TIMES_GUESSING:,} times that of guessing, "
        f"which is {self._guessing_loss:.4g}, makes no sense"
      )
    symptom = " and ".join(f"{n} is {_metric_text(values[n])}" for n in wrong)
    if count > 1:
      symptom += f" (mean of steps {step + 1} to {step + count})"
    self._end(f"step {step + sane + 1}", symptom, remark)

  def check_weights(self, first: int, last: int) -> None:
    """Raises a Diverged if a weight is not finite, before it is saved.

    Args:
      first: The first step behind the last at which weights were checked.
      last: The last step.
    """
    for variable in self._model.trainable_variables:
      is_finite = tf.math.is_finite(variable.value)
      if not tf.reduce_all(is_finite):
        wrong = tf.boolean_mask(variable.value, ~is_finite).numpy()
        self._end(
          f"step {last}" if first == last else f"steps {first} to {last}",
          f"weight {variable.path} is {wrong[0]} in {wrong.size:,} of its "
          f"{tf.size(is_finite):,} values",
        )

  def _end(self, steps, symptom, remark=""):
    rate = float(keras.ops.convert_to_numpy(self._optimizer.learning_rate))
    raise errors.Diverged(
      f"Training diverged in {steps}: {symptom}, at learning rate "
      f"{rate:g}{remark}. The last good checkpoint is "
      f"{self._checkpoints.latest or 'none'}. Try a lower learning rate "
      "or a longer warmup, in another --workdir."
    )


def _metric_text(value):
  """Returns a metric that makes no sense; a finite one has three digits."""
  return f"{value:.3g}" if math.isfinite(value) else str(value)
