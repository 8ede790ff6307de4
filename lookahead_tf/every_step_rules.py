"""Rules on the slow weights for periods of one update: EMA-Nesterov and GPA."""

from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

from lookahead_tf import arguments
from lookahead_tf.outer_rules import Buffered


class EveryStepRule(Buffered):
  """A rule for periods of one update.

  The slow weights are those to evaluate and to export. The slow weights and the
  buffer determine the point that the update started from.
  """

  def arguments(self) -> dict[str, Any]:
    """Returns the arguments of Lookahead that stand for the rule."""
    rule = keras.saving.serialize_keras_object(self)
    return super().arguments() | {"outer_optimizer": rule}

  def get_config(self) -> dict[str, Any]:
    """Returns the arguments."""
    return {
      name: keras.optimizers.schedules.serialize(value)
      if callable(value)
      else value
      for name, value in self._config.items()
    }

  @classmethod
  def from_config(cls, config: dict[str, Any]) -> "EveryStepRule":
    """Creates a rule from what `get_config` returned."""
    return cls(**config)

  def __repr__(self):
    given = ", ".join(f"{k}={v!r}" for k, v in self._config.items())
    return f"{type(self).__name__}({given})"


@keras.saving.register_keras_serializable(package="lookahead_tf")
class EmaNesterov(EveryStepRule):
  """Nesterov momentum by an average of the updates, in periods of one update.

    m' = g m + (1 - g) (b m - s)
    phi' = phi - s + b m'

  The weights to evaluate are phi' - b m' = phi - s. The buffer m is an
  exponential moving average of the updates; b tells how far the fast weights
  are ahead of the weights to evaluate.

  Args:
    lead: Float in [0, 1), the b above, or a LearningRateSchedule over updates.
    decay: Float in [0, 1), the g above.

  Raises:
    TypeError: if an argument is no number.
    ValueError: if an argument is out of its range.

  Reference:
    arXiv 2605.25395, whose runs have a decay of .99 and a lead of .3 to .6 in
    the middle of training only.
  """

  buffer_name = "ema"

  def __init__(self, lead: Any = 0.5, decay: float = 0.99):
    self._config = {
      "lead": arguments.fraction_or_schedule("lead", lead),
      "decay": arguments.fraction_below_1("decay", decay),
    }

  def build(self, lookahead: Any) -> None:
    """Adds the buffers."""
    super().build(lookahead)
    self._periods_done = lookahead.periods_done

  def _lead(self):
    lead = self._config["lead"]
    if not callable(lead):
      return lead
    return ops.clip(lead(self._periods_done), 0.0, arguments.BELOW_1)

  def moved(
    self, index: int, phi: Any, theta: Any, s: Any, alpha: Any
  ) -> Iterator[tuple[Any, Any]]:
    """Yields the assignment of the buffer; returns (slow, fast weights)."""
    del s, alpha
    decay, buffer = self._config["decay"], self._buffers[index]
    lead = ops.cast(self._lead(), buffer.dtype)
    m, slow = ops.convert_to_tensor(buffer), ops.cast(phi, buffer.dtype)
    # The point that the update started from is slow + lead m.
    ended_at = ops.cast(theta, buffer.dtype)
    m = decay * m + (1.0 - decay) * (ended_at - slow)
    yield buffer, m
    new = ended_at + lead * m
    return ops.cast(ended_at, phi.dtype), ops.cast(new, theta.dtype)


@keras.saving.register_keras_serializable(package="lookahead_tf")
class PrimalAveraging(EveryStepRule):
  """Generalized primal averaging, in periods of one update.

    z' = z - s
    x' = mu_x x + (1 - mu_x) z'
    phi' = mu_y x' + (1 - mu_y) z'

  The inner optimizer makes its updates s at phi, which is between the iterate z
  and its average x. The weights to evaluate are x. Schedule-Free has a running
  mean for x.

  Args:
    mu_x: Float in [0, 1): the weight of the average before each update.
    mu_y: Float in [0, 1]: how near to the average gradients are computed.

  Raises:
    TypeError: if an argument is no number.
    ValueError: if an argument is out of its range.

  Reference:
    arXiv 2512.17131. Weight decay of the inner optimizer acts at phi, as in the
    paper's form that is exact.
  """

  buffer_name = "iterate"

  def __init__(self, mu_x: float = 0.9967, mu_y: float = 0.7):
    self._config = {
      "mu_x": arguments.fraction_below_1("mu_x", mu_x),
      "mu_y": arguments.fraction("mu_y", mu_y),
    }

  def initial(self, theta: Any) -> Any:
    """Returns the weights themselves."""
    return ops.copy(theta)

  def moved(
    self, index: int, phi: Any, theta: Any, s: Any, alpha: Any
  ) -> Iterator[tuple[Any, Any]]:
    """Yields the assignment of the buffer; returns (slow, fast weights)."""
    del s, alpha
    mu_x, mu_y = self._config["mu_x"], self._config["mu_y"]
    buffer = self._buffers[index]
    z, x = ops.convert_to_tensor(buffer), ops.cast(phi, buffer.dtype)
    y = mu_y * x + (1.0 - mu_y) * z
    z = z + (ops.cast(theta, buffer.dtype) - y)
    x = mu_x * x + (1.0 - mu_x) * z
    yield buffer, z
    new = mu_y * x + (1.0 - mu_y) * z
    return ops.cast(x, phi.dtype), ops.cast(new, theta.dtype)
