"""The Lookahead optimizer: its variables, its step and its config."""

import re
import warnings
from typing import Any

import keras
from keras import ops

from lookahead_tf import arguments, graph, inner_state, synchronization
from lookahead_tf.wrapper import OptimizerWrapper


@keras.saving.register_keras_serializable(package="lookahead_tf")
class Lookahead(OptimizerWrapper):
  """Lookahead: k steps forward, 1 step back, around any Keras optimizer.

  The inner optimizer moves the weights of the model, the *fast* weights. After
  every `sync_period` of its updates the *slow* weights, which start at the
  initial weights, move a fraction `slow_step_size` of the way to them, and the
  fast weights start again from there:

  ```
  slow = slow + slow_step_size * (fast - slow)
  fast = slow
  ```

  Everything else is the inner optimizer's: its learning rate, schedule, weight
  decay, clipping, averages and gradient accumulation act as without Lookahead.
  A period counts its *updates*, so that with `gradient_accumulation_steps=m` it
  is `sync_period * m` calls.

  Example:
  ```python
  model.compile(optimizer=Lookahead(keras.optimizers.Adam(1e-3)), loss="mse")
  ```

  With `mixed_float16`, a LossScaleOptimizer goes around Lookahead, where
  `compile` puts it by itself.

  Args:
    inner_optimizer: A Keras optimizer, its name or its config.
    sync_period: Integer of at least 1, the paper's k: updates of the inner
      optimizer in a period. It may be assigned to at any time, and then holds
      for the period under way.
    slow_step_size: Float in [0, 1], the paper's alpha. 1 is the inner optimizer
      alone, to the bit; 0 returns to the initial weights after each period. It
      may be assigned to at any time.
    inner_state: What becomes of the inner optimizer's slots (momentum, moments)
      at a synchronization: "maintain" leaves them; "interpolate" moves them as
      the weights are moved, from where they were one period before; "reset"
      returns them to their initial values. Step counts and learning rates are
      left as they are in each case.
    exclude: None, or regular expressions searched (`re.search`) in variable
      paths. Variables that match, and their slots, are left to the inner
      optimizer: they get no slow weights.
    name: Name of the optimizer.

  Attributes:
    inner_optimizer: The inner optimizer, a Keras optimizer.
    slow_weights: List parallel to the variables that the optimizer was built
      with: a variable of the same shape and dtype, or None if it is excluded.

  Raises:
    TypeError: if an argument is of a wrong type.
    ValueError: if the value of an argument is out of its range.

  Reference:
    Zhang, Lucas, Hinton, Ba, "Lookahead Optimizer: k steps forward, 1 step
    back", NeurIPS 2019, Algorithm 1 (https://arxiv.org/abs/1907.08610);
    the paper compares "maintain", "interpolate" and "reset".
  """

  def __init__(
    self,
    inner_optimizer: keras.optimizers.Optimizer | str | dict[str, Any],
    sync_period: int = 5,
    slow_step_size: float = 0.5,
    inner_state: str = "maintain",
    exclude: str | list[str] | tuple[str, ...] | None = None,
    name: str = "lookahead",
  ):
    inner_optimizer = arguments.inner_optimizer(inner_optimizer)
    sync_period = arguments.sync_period(sync_period)
    slow_step_size = arguments.slow_step_size(slow_step_size)
    super().__init__(inner_optimizer, name=arguments.name(name))
    self._inner_state = arguments.inner_state(inner_state)
    self._exclude = arguments.exclude(exclude)
    self.slow_weights: list[Any] = []
    # The inner optimizer counts inner iterations. `_iterations`, which the base
    # class creates, counts the outer ones of Algorithm 1: t, the periods done.
    self._sync_period = self._add_scalar("sync_period", sync_period, "int")
    wide = "float64" if keras.backend.floatx() == "float64" else "float32"
    self._slow_step_size = self._add_scalar(
      "slow_step_size", slow_step_size, wide
    )
    self._updates_in_period = self._add_scalar("updates_in_period", 0, "int")

  def _add_scalar(self, name, value, dtype):
    return self.add_variable(
      shape=(),
      dtype=dtype,
      initializer=keras.initializers.Constant(value),
      name=name,
    )

  def build(self, variables: list[Any]) -> None:
    """Creates the slow weights, as copies of `variables`, and inner slots.

    Args:
      variables: The trainable variables of the model, whose values are the
        initial weights.

    Raises:
      ValueError: if the inner optimizer was built for other variables.
    """
    if self.built:
      return
    variables = list(variables)
    with graph.run_now():
      self._build_inner_optimizer(variables)
      super().build(variables)
      included = self._find_included(variables)
      self.slow_weights = [
        self._add_anchor(variable, "slow") if use else None
        for variable, use in zip(variables, included)
      ]
      self._inner_state_rule = inner_state.RULES[self._inner_state](
        self.inner_optimizer,
        owners=[v for v, use in zip(variables, included) if use],
        add_anchor=self._add_anchor,
      )

  def _find_included(self, variables):
    """Returns a list of booleans: which variables get slow weights."""
    paths = [getattr(v, "path", v.name) for v in variables]
    for pattern in self._exclude:
      if not any(re.search(pattern, path) for path in paths):
        warnings.warn(
          f"`exclude` holds {pattern!r}, which is found in no variable path, "
          f"so it excludes nothing. The paths are: {paths}",
          stacklevel=2,
        )
    return [
      not any(re.search(pattern, path) for pattern in self._exclude)
      and inner_state.is_float(variable)
      and not getattr(variable, "overwrite_with_gradient", False)
      for variable, path in zip(variables, paths)
    ]

  def _add_anchor(self, variable, name):
    """Adds a variable that starts at the present value of `variable`."""
    return self.add_variable_from_reference(
      variable,
      name=name,
      initializer=lambda shape, dtype: ops.convert_to_tensor(variable),
    )

  def apply(
    self, grads: list[Any], trainable_variables: list[Any] | None = None
  ) -> None:
    """Makes one update of the inner optimizer, and synchronizes when due.

    Args:
      grads: Gradients, one for each variable; as for the inner optimizer they
        may be None or sparse.
      trainable_variables: The variables, needed on the first call unless the
        optimizer is built.
    """
    grads = list(grads)
    if trainable_variables is not None:
      trainable_variables = list(trainable_variables)
      if not self.built and trainable_variables:
        self.build(trainable_variables)
    updates_before = ops.copy(self.iterations)  # A read, now.
    self.inner_optimizer.apply(grads, trainable_variables)
    self._count_updates(ops.subtract(self.iterations, updates_before))

  def _count_updates(self, updates):
    """Synchronizes if `updates` more inner updates complete a period."""
    updates = ops.add(self._updates_in_period, updates)
    due = ops.greater_equal(updates, self._sync_period)
    self.assign(
      self._updates_in_period, ops.where(due, ops.zeros_like(updates), updates)
    )
    self._iterations.assign_add(ops.cast(due, self._iterations.dtype))
    graph.run_if(due, self._synchronize)

  def _synchronize(self):
    """One outer step of Algorithm 1: slow, then fast weights, then slots."""
    alpha = ops.convert_to_tensor(self._slow_step_size)
    for fast, slow in zip(self._trainable_variables, self.slow_weights):
      if slow is None:
        continue
      phi = synchronization.slow_update(slow, fast, alpha)
      if fast.constraint is not None:
        # It holds for both ends, which says nothing of a point between.
        phi = fast.constraint(phi)
      self.assign(slow, phi)
      self.assign(fast, phi)
    for variable, value in self._inner_state_rule.synchronized(alpha):
      self.assign(variable, value)

  def reset_slow_weights(self) -> None:
    """Makes the weights of the model the slow weights, and starts a period.

    Call it after the weights were set by hand or loaded without the optimizer's
    state: otherwise the next synchronization goes towards the weights that the
    model had before. It is for the host, not for use in a training step.

    Raises:
      ValueError: if the optimizer is not built.
    """
    if not self.built:
      raise ValueError(
        "reset_slow_weights needs an optimizer that is built; until then there "
        "are no slow weights, and they start at the weights of the model."
      )
    for fast, slow in zip(self._trainable_variables, self.slow_weights):
      if slow is not None:
        slow.assign(ops.convert_to_tensor(fast))
    for anchor, slot in self._inner_state_rule.anchored():
      anchor.assign(ops.convert_to_tensor(slot))
    self._updates_in_period.assign(0)

  @property
  def inner_state(self) -> str:
    """What becomes of the inner optimizer's slots at a synchronization."""
    return self._inner_state

  @property
  def sync_period(self) -> int:
    """The number of inner updates in a period, the paper's k."""
    return int(ops.convert_to_numpy(self._sync_period))

  @sync_period.setter
  def sync_period(self, value):
    self._sync_period.assign(arguments.sync_period(value))

  @property
  def slow_step_size(self) -> float:
    """The step size of the slow weights, the paper's alpha."""
    # By way of the shortest decimal: 0.8, not 0.800000011920929.
    return float(str(ops.convert_to_numpy(self._slow_step_size)))

  @slow_step_size.setter
  def slow_step_size(self, value):
    self._slow_step_size.assign(arguments.slow_step_size(value))

  def get_config(self) -> dict[str, Any]:
    """Returns the arguments, with the inner optimizer serialized."""
    return super().get_config() | {
      "sync_period": self.sync_period,
      "slow_step_size": self.slow_step_size,
      "inner_state": self.inner_state,
      "exclude": list(self._exclude) or None,
    }
