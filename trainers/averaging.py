"""Averaging of weights that starts by itself: NT-ASGD."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

_NOT_STARTED = -1


@keras.saving.register_keras_serializable(package="lookahead_tf.trainers")
class NonMonotonicSgd(keras.optimizers.SGD):
  """NT-ASGD, algorithm 1 of Merity, Keskar and Socher 2017.

  The optimizer is SGD until an evaluation is worse than the best one before the
  last `patience` evaluations. From then on the weights to evaluate are the mean
  of the weights after each further update.

  Keras keeps the averages, as with `use_ema`. Their momentum is 0 before the
  start and 1 - 1 / t in the t-th update after it.

  Args:
    learning_rate: As for SGD.
    patience: The paper's n, the reference implementation's `nonmono`: a whole
      number, 1 or more.
    momentum: As for SGD.
    nesterov: As for SGD.
    weight_decay: As for SGD.
    clipnorm: As for SGD.
    clipvalue: As for SGD.
    global_clipnorm: As for SGD.
    loss_scale_factor: As for SGD.
    gradient_accumulation_steps: As for SGD.
    name: As for SGD.

  Raises:
    ValueError: for a patience that is no such number.
  """

  def __init__(
    self,
    learning_rate: Any = 0.01,
    patience: int = 5,
    momentum: float = 0.0,
    nesterov: bool = False,
    weight_decay: float | None = None,
    clipnorm: float | None = None,
    clipvalue: float | None = None,
    global_clipnorm: float | None = None,
    loss_scale_factor: float | None = None,
    gradient_accumulation_steps: int | None = None,
    name: str = "nt_asgd",
  ):
    if not isinstance(patience, int) or patience < 1:
      raise ValueError(
        f"`patience` must be a whole number, 1 or more. Received: {patience}"
      )
    super().__init__(
      learning_rate,
      momentum=momentum,
      nesterov=nesterov,
      weight_decay=weight_decay,
      clipnorm=clipnorm,
      clipvalue=clipvalue,
      global_clipnorm=global_clipnorm,
      use_ema=True,
      loss_scale_factor=loss_scale_factor,
      gradient_accumulation_steps=gradient_accumulation_steps,
      name=name,
    )
    self.patience = patience

  def build(self, variables: list[Any]) -> None:
    """Makes the averages, and the state of the start."""
    if self.built:
      return
    super().build(variables)

    def add(name, shape, dtype, value):
      return self.add_variable(
        shape, keras.initializers.Constant(value), dtype, name=name
      )

    infinity = float("inf")
    self._start = add("start", (), "int64", _NOT_STARTED)
    self._recent = add("recent", (self.patience,), "float32", infinity)
    self._best_before = add("best_before", (), "float32", infinity)

  @property
  def is_averaging(self) -> bool:
    """Whether the averaging has started."""
    return int(ops.convert_to_numpy(self._start)) != _NOT_STARTED

  @property
  def ema_momentum(self) -> Any:
    """The momentum of the averages in the update under way, a scalar."""
    if not self.built:
      return 0.0
    updates = ops.cast(self.iterations - self._start + 1, "float32")
    momentum = 1 - 1 / ops.maximum(updates, 1.0)
    return ops.where(self._start == _NOT_STARTED, 0.0, momentum)

  @ema_momentum.setter
  def ema_momentum(self, value):
    del value  # Keras sets its default.

  def observe(self, loss: float) -> None:
    """Starts the averaging if `loss` says that it is time.

    Args:
      loss: Of an evaluation.
    """
    if self.is_averaging:
      return
    if loss > float(ops.convert_to_numpy(self._best_before)):
      self._start.assign(self.iterations)
    recent = ops.convert_to_numpy(self._recent)
    self._best_before.assign(ops.minimum(self._best_before, recent[0]))
    self._recent.assign([*recent[1:], loss])

  def get_config(self) -> dict[str, Any]:
    """Returns the arguments."""
    config = super().get_config()
    for name in ("use_ema", "ema_momentum", "ema_overwrite_frequency"):
      del config[name]
    return {**config, "patience": self.patience}


def observer(
  optimizer: keras.optimizers.Optimizer,
) -> Callable[[float], None] | None:
  """Returns the function of an optimizer that wants to know each loss."""
  inner = getattr(optimizer, "inner_optimizer", optimizer)
  return getattr(inner, "observe", None)
