"""The Lookahead optimizer: variables, synchronization, config.

`apply` is in periods.py.
"""

from typing import Any

import keras
from keras import ops

from lookahead_tf import (
  arguments,
  exclusion,
  inner_state,
  names,
  nesting,
  step_size,
  synchronization,
)
from lookahead_tf.backends import backend
from lookahead_tf.periods import PeriodicOptimizer


@keras.saving.register_keras_serializable(package="lookahead_tf")
class Lookahead(PeriodicOptimizer):
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
      may be assigned to at any time. Or a LearningRateSchedule over the periods
      done, or an AdaptiveStepSize; these are not to be assigned to.
    inner_state: What becomes of the inner optimizer's slots (momentum, moments)
      at a synchronization: "maintain" leaves them; "interpolate" moves them as
      the weights are moved, from where they were one period before; "reset"
      returns them to their initial values. Step counts and learning rates are
      left as they are in each case.
    exclude: None, or variables and regular expressions, which are searched
      (`re.search`) in variable paths. Variables that match, and their slots,
      are left to the inner optimizer: they get no slow weights.
    slow_dtype: None, or "float32" or "float64": the least precision of the slow
      weights, which otherwise have the dtype of their variables.
    name: Name of the optimizer. If None, Keras names it: "lookahead", then
      "lookahead_1" and so on.
    **others: None may be given: an error says what they are called here.

  Attributes:
    inner_optimizer: The inner optimizer, a Keras optimizer.
    slow_weights: List parallel to the variables that the optimizer was built
      with: a variable of the same shape, or None if it is excluded.

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
    slow_step_size: Any = 0.5,
    inner_state: str = "maintain",
    exclude: Any = None,
    slow_dtype: str | None = None,
    name: str | None = None,
    **others: Any,
  ):
    inner_optimizer = arguments.inner_optimizer(inner_optimizer)
    names.refuse_arguments(others, inner_optimizer)
    rule = step_size.from_argument(slow_step_size)
    rule.check_inner_optimizer(inner_optimizer)
    super().__init__(
      inner_optimizer,
      sync_period=arguments.sync_period(sync_period),
      name=arguments.name(name),
    )
    self._step_size = rule
    self._inner_state = arguments.inner_state(inner_state)
    self._exclusion = exclusion.Exclusion(arguments.exclude(exclude))
    self._slow_dtype = arguments.slow_dtype(slow_dtype)
    self.slow_weights: list[Any] = []
    self._slow_step_size = self._add_scalar(
      "slow_step_size",
      rule.initial,
      synchronization.wide(keras.config.floatx()),
    )
    # A subclass may have attributes of its own.
    self._refuses_attributes = type(self) is Lookahead

  def build(self, variables: list[Any]) -> None:
    """Creates the slow weights, as copies of `variables`, and inner slots.

    While TensorFlow traces the function that creates `variables`, they have no
    values. Then it does nothing: TensorFlow throws that trace away and traces
    the function once more, and that time `apply` builds the optimizer.

    Args:
      variables: The trainable variables of the model, whose values are the
        initial weights. There may be others among them (`model.variables`).

    Raises:
      ValueError: if the inner optimizer was built for other variables.
    """
    if self.built:
      return
    variables = list(variables)
    if not all(map(backend.has_value, variables)):
      self._waits_for_values = True
    elif self._waits_for_values:
      backend.run_untraced(lambda: self._build(variables))
    else:
      with backend.run_now():
        self._build(variables)

  def _build(self, variables):
    if not self.inner_optimizer.built:
      backend.join_strategy(self, variables)
    self._build_inner_optimizer(variables)
    super().build(variables)
    self._trained = backend.Marks(self, variables)
    included = self._exclusion.included(variables)
    self.slow_weights = [
      self._add_slow_weights(variable) if use else None
      for variable, use in zip(variables, included)
    ]
    self._inner_state_rule = inner_state.RULES[self._inner_state](
      self.inner_optimizer,
      owners=[v for v, use in zip(variables, included) if use],
      add_anchor=lambda slot: self._add_copy(slot, slot.dtype, "anchor"),
    )

  def _add_slow_weights(self, variable):
    dtype = variable.dtype
    if self._slow_dtype == "float32":
      dtype = synchronization.wide(dtype)
    elif self._slow_dtype == "float64":
      dtype = "float64"
    return self._add_copy(variable, dtype, "slow")

  def _add_copy(self, variable, dtype, name):
    """Adds a variable that starts at the present value of `variable`."""
    path = getattr(variable, "path", variable.name).replace("/", "_")
    layout = getattr(variable, "_layout", None)  # Of keras.distribution.
    with backend.beside(self, variable):
      return self.add_variable(
        shape=variable.shape,
        dtype=dtype,
        initializer=lambda shape, dtype: ops.cast(ops.copy(variable), dtype),
        name=f"{path}_{name}",
        **({} if layout is None else {"layout": layout}),
      )

  def _start_period(self):
    """Yields what makes the weights of the model the slow weights, phi_0."""
    for fast, slow in self._pairs():
      yield slow, fast
    yield from self._inner_state_rule.anchored()

  def _end_period(self, due, last_update):
    self._trained.set(
      self._get_variable_index(variable)
      for gradient, variable in last_update
      if gradient is not None
    )
    alpha = self._step_size.at(self, last_update, due)
    self._update_if(due, lambda: self._synchronize(alpha), is_frequent=True)

  def _can_fuse(self):
    # Not slots, which the update of the weights uses; nor weights of which an
    # average is kept or that another Lookahead moves; nor what is converted and
    # back.
    return (
      self._inner_state == "maintain"
      and not self._is_nested
      and not any(self._nested())
      and not any(inner.use_ema for inner in nesting.descendants(self))
      and all(
        slow.dtype == synchronization.wide(slow.dtype)
        for _, slow in self._pairs()
      )
    )

  def _synchronize(self, alpha):
    """Yields one outer step of Algorithm 1: weights, then slots."""
    for index, fast, slow in self._indexed_pairs():
      phi = synchronization.slow_update(slow, fast, alpha)
      if fast.constraint is not None:
        # It holds for both ends, which says nothing of a point between.
        phi = fast.constraint(phi)
      is_trained = self._trained.read(index)
      if is_trained is not True:
        phi = ops.where(is_trained, phi, ops.cast(fast, phi.dtype))
      # The fast weights first, if that loses nothing: XLA can make their update
      # and their interpolation one.
      first, second = (fast, slow) if fast.dtype == slow.dtype else (slow, fast)
      yield first, phi
      yield second, ops.convert_to_tensor(first)
    yield from self._inner_state_rule.synchronized(alpha)
    yield self._slow_step_size, alpha
    for nested in self._nested():
      yield from nested._to_let_period_start()

  def _indexed_pairs(self):
    """Yields (index, fast, slow) for each variable that has slow weights."""
    for index, (fast, slow) in enumerate(
      zip(self._trainable_variables, self.slow_weights)
    ):
      if slow is not None:
        yield index, fast, slow

  def _pairs(self):
    """Yields (fast, slow) for each variable that has slow weights."""
    for _, fast, slow in self._indexed_pairs():
      yield fast, slow

  def _trained_pairs(self):
    """Yields (fast, slow) for each variable that the inner optimizer moves.

    A variable that never had a gradient is moved by something else: statistics
    of batch normalization, a codebook that its layer averages, a counter. Its
    slow weights hold its value of the last synchronization, and are not for the
    model. Before the first step in a process gradients are not known; then
    Keras' `trainable` decides.
    """
    for index, fast, slow in self._indexed_pairs():
      is_trained = (
        self._trained.is_set(index)
        if self._trained.any()
        else getattr(fast, "trainable", True)
      )
      if is_trained:
        yield fast, slow

  def reset_slow_weights(self) -> None:
    """Makes the weights of the model the slow weights, and starts a period.

    Call it after the weights were set by hand or loaded without the optimizer's
    state in the middle of a period: otherwise the next synchronization goes
    towards the weights that the model had before. Until the next update the
    slow weights follow the model by themselves. It is for the host, not for use
    in a training step.

    Raises:
      ValueError: if the optimizer is not built.
    """
    if not self.built:
      raise ValueError(
        "reset_slow_weights needs an optimizer that is built; until then there "
        "are no slow weights, and they start at the weights of the model."
      )
    if self._swap is not None:
      self._swap.keep()
    self._put_all(self._start_period())
    self._let_period_start()

  def finalize_variable_values(self, var_list: list[Any]) -> None:
    """Leaves the slow weights in the model, as Algorithm 1 returns them.

    Keras calls it at the end of `fit`. Further training starts a period from
    the weights that the model then has. With `use_ema=True` in the inner
    optimizer, these are its averages.
    """
    if not backend.has_value(self._updates_in_period):
      return  # An error in `fit` on JAX, which calls this all the same.
    if self.built and not self._is_period_to_start():
      self._warn_if_no_period_was_completed()
    self.return_slow_weights()
    super().finalize_variable_values(var_list)

  def restore_fast_weights(self) -> None:
    """Puts the fast weights back after an evaluation that was interrupted.

    A `slow_weights` block does it by itself; the SwapSlowWeights callback can
    not where Keras leaves `evaluate` or `fit` by an exception. Where weights
    were assigned to the model or a file was loaded since, these stay.
    """
    if self._swap is not None:
      self._swap.undo_unless_changed()

  def _begin_fit(self, was_interrupted):
    """Deals with what a `fit` that was interrupted has left.

    Its end would have started a period anew: after it, weights may have been
    assigned to the model. State that was loaded since is gone on from.
    """
    if self._swap is not None and self._swap.is_by_callback:
      self.restore_fast_weights()
    elif (
      was_interrupted
      and not self._has_new_state
      and not self._is_period_to_start()
    ):
      self.reset_slow_weights()
    self._has_new_state = False

  def return_slow_weights(self) -> None:
    """Leaves the slow weights in the model; further training starts a period.

    It does nothing where no update was made since the last period was started
    or since weights were loaded: then those of the model are the slow weights.
    """
    if self._swap is not None:
      self._swap.keep()
    if self.built and not self._is_period_to_start():
      self._put_all(self._trained_pairs())
      self._let_period_start()

  @property
  def inner_state(self) -> str:
    """What becomes of the inner optimizer's slots at a synchronization."""
    return self._inner_state

  @property
  def slow_step_size(self) -> float:
    """The step size of the slow weights, the paper's alpha.

    Of a schedule it is that of the period under way, of an AdaptiveStepSize
    that of the last synchronization.
    """
    # By way of the shortest decimal: 0.8, not 0.800000011920929.
    return float(str(ops.convert_to_numpy(self._step_size.now(self))))

  @slow_step_size.setter
  def slow_step_size(self, value):
    if type(self._step_size) is not step_size.FixedStepSize:
      raise TypeError(
        "`slow_step_size` can be assigned to only if the optimizer was made "
        f"with a float. It was made with: {self._step_size!r}"
      )
    only = "; a schedule or an AdaptiveStepSize needs a new optimizer"
    value = arguments.fraction("slow_step_size", value, or_else=only)
    self._slow_step_size.assign(value)

  def get_config(self) -> dict[str, Any]:
    """Returns the arguments, with the inner optimizer serialized."""
    return super().get_config() | {
      "sync_period": self.sync_period,
      "slow_step_size": self._step_size.serialized() or self.slow_step_size,
      "inner_state": self.inner_state,
      "exclude": self._exclusion.get_config(),
      "slow_dtype": self._slow_dtype,
    }
