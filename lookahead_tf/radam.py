"""RAdam: Adam whose step is rectified while its second moment is young."""

import inspect
import math
import numbers
from typing import Any

import keras
import numpy as np
from keras import ops

from lookahead_tf import description, keras_internals, synchronization

# What other libraries call the arguments of RAdam.
_ELSEWHERE = {
  "betas": "beta_1` and `beta_2",
  "eps": "epsilon",
  "lr": "learning_rate",
  "N_sma_threshhold": "sma_threshold",
  "n_sma_threshold": "sma_threshold",
  "use_gc": "gradient_centralization",
}


@keras.saving.register_keras_serializable(package="lookahead_tf")
class RAdam(keras.optimizers.Optimizer):
  """Rectified Adam: the adaptive step shrinks while it is uncertain.

  The second moment of Adam is an average over few gradients in the first steps.
  A step that is divided by its root varies much from run to run. RAdam computes
  this variance from the number `rho` of gradients in the average, and
  multiplies the step by `r`, which grows from 0 to 1. Where there are too few
  gradients to say, the step is that of SGD with momentum. At update t, with the
  gradient g:

  ```
  m = beta_1 * m + (1 - beta_1) * g
  v = beta_2 * v + (1 - beta_2) * g**2
  rho_inf = 2 / (1 - beta_2) - 1
  rho = rho_inf - 2 * t * beta_2**t / (1 - beta_2**t)
  mean = m / (1 - beta_1**t)
  if rho > sma_threshold:
    r = sqrt((rho - 4) * (rho - 2) * rho_inf
             / ((rho_inf - 4) * (rho_inf - 2) * rho))
    w = w - learning_rate * r * sqrt(1 - beta_2**t) * mean / (sqrt(v) + epsilon)
  else:
    w = w - learning_rate * mean
  ```

  With `beta_2=0.999` the first five steps are those of SGD with momentum, as
  long as the gradients are; r is .03 at step 6, .22 at step 100 and .65 at step
  1,000. With `beta_2` of at most 2/3 all steps are those of SGD.

  Example:
  ```python
  model.compile(Lookahead(RAdam(1e-3), sync_period=6), loss="mse")
  ```

  Sparse gradients act as dense ones: the moments of all rows decay, and all
  rows move. Keras' Adam squares the gradients of a row that is several times in
  a batch before it adds them up; RAdam adds them up first.

  Args:
    learning_rate: Float, a LearningRateSchedule, or a callable without
      arguments that returns the learning rate.
    beta_1: Float in [0, 1), the decay of the first moment.
    beta_2: Float in [0, 1), the decay of the second moment.
    epsilon: Float of at least 0, added to the root of the second moment before
      the moment is freed of its bias, as in Keras' Adam and the authors' code.
    amsgrad: Whether `sqrt(v)` is that of the greatest v so far. The paper does
      not have this option.
    sma_threshold: Float of at least 4: the number of gradients beyond which the
      step is adaptive. The paper has 4, the authors' code has 5.
    gradient_centralization: Whether the mean over all axes but the last is
      taken from each gradient of two or more axes: the mean over what goes into
      one output of a Dense layer or a convolution. Variables that are called
      "embeddings" are left out. The paper does not have this option, but later
      versions of Ranger have.
    weight_decay: Float or None: each update first takes
      `learning_rate * weight_decay * w` from the weights, as AdamW does.
    clipnorm: As in each optimizer of Keras, like the arguments that follow.
    clipvalue: See `clipnorm`.
    global_clipnorm: See `clipnorm`.
    use_ema: See `clipnorm`.
    ema_momentum: See `clipnorm`.
    ema_overwrite_frequency: See `clipnorm`.
    loss_scale_factor: See `clipnorm`.
    gradient_accumulation_steps: See `clipnorm`. t counts updates.
    name: Name of the optimizer. If None, Keras makes one.
    **others: Arguments that a later Keras gives to all its optimizers.

  Attributes:
    momentums: List of m, parallel to the variables, of their shapes and dtypes.
    velocities: List of v, likewise.
    velocity_hats: List of the greatest v, with `amsgrad` alone.

  Raises:
    TypeError: if an argument is of a wrong type, or is called so elsewhere.
    ValueError: if the value of an argument is out of its range.

  Reference:
    Liu, Jiang, He, Chen, Liu, Gao, Han, "On the Variance of the Adaptive
    Learning Rate and Beyond", ICLR 2020, Algorithm 2
    (https://arxiv.org/abs/1908.03265); Yong, Huang, Hua, Zhang, "Gradient
    Centralization", ECCV 2020 (https://arxiv.org/abs/2004.01461).
  """

  def __init__(
    self,
    learning_rate: Any = 0.001,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-7,
    amsgrad: bool = False,
    sma_threshold: float = 5.0,
    gradient_centralization: bool = False,
    weight_decay: float | None = None,
    clipnorm: float | None = None,
    clipvalue: float | None = None,
    global_clipnorm: float | None = None,
    use_ema: bool = False,
    ema_momentum: float = 0.99,
    ema_overwrite_frequency: int | None = None,
    loss_scale_factor: float | None = None,
    gradient_accumulation_steps: int | None = None,
    name: str | None = None,
    **others: Any,
  ):
    for theirs in others:
      if theirs in _ELSEWHERE:
        raise TypeError(
          f"`{theirs}` is `{_ELSEWHERE[theirs]}` here. Received: "
          f"{theirs}={others[theirs]!r}"
        )
    beta_1 = _number("beta_1", beta_1, 0, below=1)
    beta_2 = _number("beta_2", beta_2, 0, below=1)
    epsilon = _number("epsilon", epsilon, 0)
    sma_threshold = _number("sma_threshold", sma_threshold, 4)
    amsgrad = _flag("amsgrad", amsgrad)
    centralizes = _flag("gradient_centralization", gradient_centralization)
    super().__init__(
      learning_rate=learning_rate,
      weight_decay=weight_decay,
      clipnorm=clipnorm,
      clipvalue=clipvalue,
      global_clipnorm=global_clipnorm,
      use_ema=use_ema,
      ema_momentum=ema_momentum,
      ema_overwrite_frequency=ema_overwrite_frequency,
      loss_scale_factor=loss_scale_factor,
      gradient_accumulation_steps=gradient_accumulation_steps,
      name=name,
      **others,
    )
    self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon
    self.amsgrad, self.sma_threshold = amsgrad, sma_threshold
    self.gradient_centralization = centralizes

  def build(self, variables: list[Any]) -> None:
    """Creates the moments of `variables`, which start at 0.

    The state on disk is in the order of Keras' Adam.
    """
    if self.built:
      return
    super().build(variables)
    self.momentums, self.velocities = [], []
    for variable in variables:
      self.momentums.append(self._add_slot(variable, "momentum"))
      self.velocities.append(self._add_slot(variable, "velocity"))
    if self.amsgrad:
      self.velocity_hats = [
        self._add_slot(v, "velocity_hat") for v in variables
      ]
    self._embeddings = frozenset(
      i for i, v in enumerate(variables) if v.name == "embeddings"
    )

  def _add_slot(self, variable, name):
    if keras_internals.is_set_by_gradient(variable):
      return None
    return self.add_variable_from_reference(variable, name=name)

  def update_step(
    self, gradient: Any, variable: Any, learning_rate: Any
  ) -> None:
    """Updates one variable, with its moments.

    Args:
      gradient: Tensor of the shape of `variable`, which may be sparse.
      variable: A variable that the optimizer was built for.
      learning_rate: Scalar.
    """
    dtype = variable.dtype
    index = keras_internals.index_of(self, variable)
    gradient = ops.cast(_dense(gradient, variable.shape), dtype)
    if self.gradient_centralization and index not in self._embeddings:
      gradient = centralized(gradient)
    m, v = self.momentums[index], self.velocities[index]
    self.assign_add(m, (gradient - m) * (1 - self.beta_1))
    self.assign_add(v, (ops.square(gradient) - v) * (1 - self.beta_2))
    if self.amsgrad:
      v_hat = self.velocity_hats[index]
      self.assign(v_hat, ops.maximum(v_hat, v))
      v = v_hat

    # In bfloat16 .999 is 1, and float16 has no numbers beyond 65,504.
    wide = synchronization.wide(dtype)
    t = ops.cast(self.iterations + 1, wide)
    size = ops.cast(learning_rate, wide) / _one_minus_power(self.beta_1, t)
    divisor = None
    rho_inf = _longest(self.beta_2)
    if rho_inf > self.sma_threshold:
      rho = effective_length(t, self.beta_2)
      is_adaptive = rho > self.sma_threshold
      r = rectification(ops.maximum(rho, self.sma_threshold), rho_inf)
      factor = r * ops.sqrt(_one_minus_power(self.beta_2, t))
      size = ops.where(is_adaptive, size * factor, size)
      divisor = ops.where(is_adaptive, ops.sqrt(v) + self.epsilon, 1.0)
    step = m * ops.cast(size, dtype)
    self.assign_sub(variable, step if divisor is None else step / divisor)

  def get_config(self) -> dict[str, Any]:
    """Returns the arguments."""
    return super().get_config() | {
      "beta_1": self.beta_1,
      "beta_2": self.beta_2,
      "epsilon": self.epsilon,
      "amsgrad": self.amsgrad,
      "sma_threshold": self.sma_threshold,
      "gradient_centralization": self.gradient_centralization,
    }

  def __repr__(self):
    return description.describe(self)


def is_argument(name: str) -> bool:
  """Returns whether RAdam has an argument `name`, or knows what is meant."""
  arguments = inspect.signature(RAdam).parameters
  return name in _ELSEWHERE or name in arguments


def _longest(beta_2):
  """Returns rho_inf, which `effective_length` tends to."""
  return 2 / (1 - beta_2) - 1


def effective_length(t: Any, beta_2: float) -> Any:
  """Returns rho: over how many gradients the second moment is an average.

  The paper's rho_inf - 2 t beta_2^t / (1 - beta_2^t) is a difference of two
  numbers near 2,000: in float32 rho is wrong by .006 at t = 6, and r by .2 %.
  With c = -log(beta_2) and y = c t / 2 the same is

    rho_inf - 2 / c + t - (2 / c) (y coth y - 1),

  whose first two terms are computed in float64, and where y coth y - 1 has a
  continued fraction, y^2 / (3 + y^2 / (5 + y^2 / (7 + ...))), by Lambert.

  Args:
    t: Scalar of a floating dtype, the number of the update, from 1 on.
    beta_2: Float in (0, 1).

  Returns:
    A scalar of the same dtype, from 1 to rho_inf. In float32 its relative error
    is less than 2e-7.
  """
  c, rho_inf = -math.log(beta_2), _longest(beta_2)
  y = t * (c / 2)
  square = ops.square(ops.minimum(y, 1.0))
  fraction = 9.0
  for term in (7.0, 5.0, 3.0):
    fraction = term + square / fraction
  early = (rho_inf - 2 / c) + t - (2 / c) * square / fraction
  # Here the two numbers are not near each other: the second is the smaller.
  late = rho_inf - 2 * t / ops.expm1(2 * y)
  return ops.where(y < 1.0, early, late)


def rectification(rho: Any, rho_inf: float) -> Any:
  """Returns r, what an adaptive step is multiplied by.

  Args:
    rho: Scalar of at least 4, from `effective_length`.
    rho_inf: Float beyond 4, which rho tends to.

  Returns:
    A scalar in [0, 1].
  """
  return ops.sqrt(
    ((rho - 4) / (rho_inf - 4)) * ((rho - 2) / (rho_inf - 2)) * (rho_inf / rho)
  )


def _one_minus_power(beta, t):
  """Returns 1 - beta^t, without the loss of digits where beta^t is near 1."""
  return 1.0 if beta == 0 else -ops.expm1(t * math.log(beta))


def centralized(gradient: Any) -> Any:
  """Returns a gradient less its mean over all axes but the last.

  Args:
    gradient: Dense tensor; with fewer than two axes it is returned as it is.
  """
  axes = tuple(range(len(gradient.shape) - 1))
  if not axes:
    return gradient
  return gradient - ops.mean(gradient, axis=axes, keepdims=True)


def _dense(gradient, shape):
  """Returns a gradient in which each row is there once."""
  if hasattr(gradient, "dense_shape"):  # Of TensorFlow: tf.IndexedSlices.
    return ops.add(gradient, ops.zeros(shape, gradient.dtype))
  return ops.convert_to_tensor(gradient, sparse=False)


def _number(name, value, least, below=math.inf):
  """Returns `value`, that of the argument `name`, as a float in its range."""
  interval = (
    f"in [{least}, {below})" if below < math.inf else f"{least} or more"
  )
  if isinstance(value, bool) or not isinstance(value, numbers.Real):
    raise TypeError(
      f"`{name}` must be a float {interval}. Received: {name}={value!r} of "
      f"type {type(value).__name__}"
    )
  if not least <= value < below:
    raise ValueError(f"`{name}` must be {interval}. Received: {name}={value!r}")
  return float(value)


def _flag(name, value):
  if not isinstance(value, (bool, np.bool_)):
    raise TypeError(
      f"`{name}` must be True or False. Received: {name}={value!r} of type "
      f"{type(value).__name__}"
    )
  return bool(value)
