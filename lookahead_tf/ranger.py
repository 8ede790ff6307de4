"""Ranger: Lookahead around RAdam."""

import copy
from typing import Any

import keras

from lookahead_tf import radam
from lookahead_tf.lookahead import DEFAULT_STEP_SIZE, Lookahead
from lookahead_tf.radam import RAdam


@keras.saving.register_keras_serializable(package="lookahead_tf")
class Ranger(Lookahead):
  """Ranger: Lookahead around RAdam, with the defaults of its author.

  `Ranger()` is a short form of
  `Lookahead(RAdam(beta_1=0.95, epsilon=1e-5), sync_period=6)`. Everything that
  is said of Lookahead and of RAdam holds.

  Example:
  ```python
  model.compile(optimizer=lookahead_tf.Ranger(1e-3), loss="mse")
  ```

  Memory: three copies of the parameters (two moments, and the slow weights).

  Args:
    learning_rate: Float, a LearningRateSchedule, or a callable without
      arguments that returns the learning rate.
    sync_period: Integer of at least 1, k of Lookahead.
    slow_step_size: Float in [0, 1], a LearningRateSchedule over the periods
      done, or an AdaptiveStepSize: alpha of Lookahead.
    beta_1: Float in [0, 1), the decay of the first moment.
    beta_2: Float in [0, 1), the decay of the second moment.
    epsilon: Float of at least 0, added to the root of the second moment.
    sma_threshold: Float of at least 4, that of RAdam.
    gradient_centralization: Whether the mean is taken from each gradient: see
      RAdam. The first versions of Ranger, of 2019, have no such option; in
      those from 2020 on it is called `use_gc`, and is True by default.
    weight_decay: Float or None, decoupled as in AdamW.
    name: Name of the optimizer. If None, Keras makes one.
    **others: Further arguments of RAdam (`amsgrad`, `clipnorm`, `clipvalue`,
      `global_clipnorm`, `use_ema`, `ema_momentum`, `ema_overwrite_frequency`,
      `loss_scale_factor`, `gradient_accumulation_steps`) and of Lookahead
      (`inner_state`, `exclude`, `slow_dtype`, `slow_momentum` and so on).

  Attributes:
    inner_optimizer: The RAdam.

  Raises:
    TypeError: if an argument is of a wrong type, or is called so elsewhere.
    ValueError: if the value of an argument is out of its range.

  Reference:
    Wright, "New Deep Learning Optimizer, Ranger", 2019, with its code at
    https://github.com/lessw2020/Ranger-Deep-Learning-Optimizer; for the parts
    see Lookahead and RAdam.
  """

  def __init__(
    self,
    learning_rate: Any = 0.001,
    sync_period: int = 6,
    slow_step_size: Any = DEFAULT_STEP_SIZE,
    beta_1: float = 0.95,
    beta_2: float = 0.999,
    epsilon: float = 1e-5,
    sma_threshold: float = 5.0,
    gradient_centralization: bool = False,
    weight_decay: float | None = None,
    name: str | None = None,
    **others: Any,
  ):
    if "inner_optimizer" in others:
      raise TypeError(
        "Ranger makes its inner optimizer, a RAdam, itself; around another, "
        "use Lookahead. Received: inner_optimizer="
        f"{others['inner_optimizer']!r}"
      )
    if name is None:
      name = _next_name()
    of_radam = {k: v for k, v in others.items() if radam.is_argument(k)}
    inner = RAdam(
      learning_rate,
      beta_1=beta_1,
      beta_2=beta_2,
      epsilon=epsilon,
      sma_threshold=sma_threshold,
      gradient_centralization=gradient_centralization,
      weight_decay=weight_decay,
      # The same name each time: OrbaxCheckpoint restores variables by paths,
      # which begin with it.
      name=name,
      **of_radam,
    )
    super().__init__(
      inner,
      sync_period,
      slow_step_size,
      name=name,
      # Lookahead says what those are called that it does not have.
      **{k: v for k, v in others.items() if k not in of_radam},
    )
    self._refuses_attributes = type(self) is Ranger

  def get_config(self) -> dict[str, Any]:
    """Returns the arguments."""
    config = super().get_config()
    del config["inner_optimizer"]
    return self.inner_optimizer.get_config() | config

  @classmethod
  def from_config(
    cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
  ) -> "Ranger":
    """Creates an optimizer from what `get_config` returned.

    Args:
      config: Left unchanged.
      custom_objects: Classes by name, for a schedule of one's own.
    """
    config = copy.deepcopy(config)
    if isinstance(config.get("learning_rate"), dict):
      config["learning_rate"] = keras.saving.deserialize_keras_object(
        config["learning_rate"], custom_objects=custom_objects
      )
    return cls(**config)


def _next_name():
  """Returns the name that Keras would make: "ranger", then "ranger_1"."""
  others = keras.backend.get_uid("ranger") - 1
  return f"ranger_{others}" if others else "ranger"
