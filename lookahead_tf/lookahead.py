"""The Lookahead optimizer: Algorithm 1 around any optimizer of Keras.

docs/design.md draws a period with its states.
"""

import itertools
from typing import Any

import keras
from keras import ops

from lookahead_tf import (
  arguments,
  batch_norm,
  compatibility,
  description,
  exclusion,
  followers,
  inner_state,
  keras_internals,
  names,
  nesting,
  outer_rules,
  period,
  step_size,
  synchronization,
)
from lookahead_tf.backends import backend
from lookahead_tf.hyperparameters import Hyperparameters
from lookahead_tf.local_steps import LocalReplicas, SynchronousReplicas
from lookahead_tf.pairs import Pairs
from lookahead_tf.slow_step import SlowStep

# An object of its own: the same number as an argument is one that was given.
DEFAULT_STEP_SIZE = float("0.5")
_NO_VALUES = (
  "Optimizer '{name}' cannot start: the variables that it is to train get "
  "their first values within the training step itself, from its data. Build "
  "the model before training, by a call of it with a batch."
)


@keras.saving.register_keras_serializable(package="lookahead_tf")
class Lookahead(Hyperparameters):
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
      alone, 0 returns to the initial weights after each period, both to the
      bit. It may be assigned to at any time. Or a LearningRateSchedule over the
      periods done, or an AdaptiveStepSize; these are not to be assigned to.
    inner_state: What becomes of the inner optimizer's slots (momentum, moments)
      at a synchronization: "maintain" leaves them; "interpolate" moves them as
      the weights are moved, from where they were one period before; "reset"
      returns them to their initial values; "average" gives them the mean over
      replicas, for `local_steps`. Step counts and learning rates are left as
      they are in each case.
    exclude: None, or variables and regular expressions, which are searched
      (`re.search`) in variable paths. Variables that match, and their slots,
      are left to the inner optimizer: they get no slow weights.
    slow_dtype: None, or "float32" or "float64": the least precision of the slow
      weights, which otherwise have the dtype of their variables.
    name: Name of the optimizer. If None, Keras names it: "lookahead", then
      "lookahead_1" and so on.
    slow_momentum: Float in [0, 1): momentum of the slow weights, one buffer
      more. It may be assigned to at any time if it was not 0 at first. Or a
      LearningRateSchedule over the periods done. The step size stays outside
      the buffer, as in PyTorch, optax and SNOO; Keras' SGD has it inside, which
      differs once the step size follows a schedule.
    slow_nesterov: Whether that momentum has Nesterov's form.
    outer_optimizer: None, or a Keras optimizer, its name or its config: it
      moves the slow weights once a period, along slow - fast for a gradient.
      Its learning rate takes the place of `slow_step_size`, its schedule counts
      periods, and its weight decay acts once a period, on top of the inner
      one's.
    pull_back: Float in [0, 1]: how far the fast weights return to the slow
      weights at the end of a period: fully by 1, not at all by 0. With 0 the
      slow weights are a moving average of the weights over periods.
    slow_device: None, or "host" for slow weights, and what belongs to them, in
      the memory of the host, which a step touches once a period. On TensorFlow,
      without a strategy and without XLA.
    statistics: None, or a Keras model: the moving statistics of its batch
      normalization are synchronized with the weights, and evaluated with them.
      `exclude` reaches them. Not on JAX. A model that is loaded or copied has
      to be assigned once more: `model.optimizer.statistics = model`.
    local_steps: Whether each replica of a `tf.distribute` strategy makes the
      steps of a period by itself, with the gradients of its own loss, which the
      inner optimizer clips. At the end of the period the mean of the replicas'
      weights takes the part of the fast weights: nothing else is sent between
      replicas. With False they sum their gradients in each step. On one device
      it changes nothing. docs/local_steps.md has more.
    **others: None may be given: an error says what they are called here.

  Attributes:
    inner_optimizer: The inner optimizer, a Keras optimizer.
    outer_optimizer: The outer optimizer, a Keras optimizer, or None.
    slow_weights: List parallel to the variables that the optimizer was built
      with: a variable of the same shape, or None if it is excluded.
    last_step_size: Scalar variable, the step size of the last synchronization,
      or that which was assigned since.

  Raises:
    TypeError: if an argument is of a wrong type.
    ValueError: if the value of an argument is out of its range, or if two
      arguments exclude each other.

  Reference:
    Zhang, Lucas, Hinton, Ba, "Lookahead Optimizer: k steps forward, 1 step
    back", NeurIPS 2019, Algorithm 1 (https://arxiv.org/abs/1907.08610);
    the paper compares "maintain", "interpolate" and "reset".
  """

  def __init__(
    self,
    inner_optimizer: keras.optimizers.Optimizer | str | dict[str, Any],
    sync_period: int = 5,
    slow_step_size: Any = DEFAULT_STEP_SIZE,
    inner_state: str = "maintain",
    exclude: Any = None,
    slow_dtype: str | None = None,
    name: str | None = None,
    slow_momentum: Any = 0.0,
    slow_nesterov: bool = False,
    outer_optimizer: Any = None,
    pull_back: float = 1.0,
    slow_device: str | None = None,
    statistics: Any = None,
    local_steps: bool = False,
    **others: Any,
  ):
    inner_optimizer = arguments.inner_optimizer(inner_optimizer)
    names.refuse_arguments(others, inner_optimizer)
    rule = step_size.from_argument(slow_step_size)
    rule.check_inner_optimizer(inner_optimizer)
    outer = {
      "slow_momentum": arguments.slow_momentum(slow_momentum),
      "slow_nesterov": arguments.boolean("slow_nesterov", slow_nesterov),
      "outer_optimizer": compatibility.outer_optimizer(outer_optimizer),
    }
    sync_period = arguments.sync_period(sync_period)
    inner_state = arguments.inner_state(inner_state)
    pull_back = arguments.fraction("pull_back", pull_back)
    statistics = followers.check(statistics)
    local_steps = arguments.local_steps(local_steps)
    compatibility.check_together(
      inner_optimizer=inner_optimizer,
      sync_period=sync_period,
      slow_step_size=slow_step_size,
      is_step_size_given=slow_step_size is not DEFAULT_STEP_SIZE,
      inner_state=inner_state,
      pull_back=pull_back,
      statistics=statistics,
      local_steps=local_steps,
      **outer,
    )
    super().__init__(inner_optimizer, sync_period, name=arguments.name(name))
    self._outer_rule = outer_rules.from_arguments(self, **outer)
    # Keras and TensorFlow save an optimizer that is an attribute.
    self.outer_optimizer = outer["outer_optimizer"]
    if self.outer_optimizer is not None:
      rule = step_size.OuterStepSize(self.outer_optimizer)
    self._step_size = rule
    self._inner_state = inner_state
    self._pull_back = pull_back
    self._slow_device = arguments.slow_device(slow_device)
    self._followers = followers.Followers(statistics)
    self._exclusion = exclusion.Exclusion(arguments.exclude(exclude))
    self._slow_dtype = arguments.slow_dtype(slow_dtype)
    self.last_step_size = self.add_scalar(
      "slow_step_size",
      rule.initial,
      synchronization.wide(keras.config.floatx()),
    )
    self._replicas = (
      LocalReplicas(self, averages_slots=inner_state == "average")
      if local_steps
      else SynchronousReplicas()
    )
    # Whether `build` was called for variables that had no values yet.
    self._waits_for_values = False
    # Whether XLA may make a slow step a part of the update before it; `build`
    # knows.
    self._can_fuse = False
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
    backend.check_strategy(self, variables)
    self._build_inner_optimizer(variables)
    super().build(variables)
    statistics = batch_norm.statistics(self._followers.model or [])
    included = self._exclusion.included(
      {"variables": variables, "statistics": statistics},
      are_all=not self._followers.are_of_a_file,
    )
    self.slow_weights = [
      self._add_slow_weights(variable) if use else None
      for variable, use in zip(variables, included["variables"])
    ]
    self._pairs = Pairs(variables, self.slow_weights)
    self._inner_state_rule = inner_state.RULES[self._inner_state](
      self.inner_optimizer,
      owners=list(itertools.compress(variables, included["variables"])),
      add_anchor=lambda slot: self.add_beside(slot, slot.dtype, "anchor"),
    )
    self._outer_rule.build(self)
    self._slow_weights_step = SlowStep(
      self._pairs, self._outer_rule, self._pull_back
    )
    self._followers.build(
      self, list(itertools.compress(statistics, included["statistics"]))
    )
    self._replicas.build(self, [fast for fast, _ in self._followers.pairs()])
    # A MultiOptimizer has its members from its build on.
    for nested in self._nested():
      nested._can_fuse = False  # This one moves its weights too.
    self._can_fuse = self._may_fuse()

  def _parts(self) -> list[keras.optimizers.Optimizer]:
    """Returns the inner optimizer and, if there is one, the outer one."""
    return super()._parts() + self._outer_rule.optimizers

  def _add_slow_weights(self, variable):
    dtype = variable.dtype
    if self._slow_dtype == "float32":
      dtype = synchronization.wide(dtype)
    elif self._slow_dtype == "float64":
      dtype = "float64"
    return self.add_beside(variable, dtype, "slow")

  def _place_beside(self, variable):
    if self._slow_device == "host":
      return backend.on_host(variable)
    return super()._place_beside(variable)

  def _may_fuse(self):
    """Whether nothing but the update uses what a slow step starts from.

    Slots are used by the update of the weights, weights by an average that is
    kept of them and by another Lookahead, and what is converted is used twice:
    docs/design.md says what XLA makes of that.
    """
    return (
      self._inner_state == "maintain"
      and self._replicas.can_fuse
      and self._outer_rule.can_fuse
      and self._pull_back == 1
      and not any(self._nested())
      and not any(inner.use_ema for inner in nesting.descendants(self))
      and all(
        slow.dtype == synchronization.wide(slow.dtype)
        for _, slow in self._pairs.all()
      )
    )

  # Algorithm 1.

  def apply(
    self, grads: list[Any], trainable_variables: list[Any] | None = None
  ) -> None:
    """Makes one update of the inner optimizer, and a slow step if one is due.

    Args:
      grads: Gradients, one for each variable; as for the inner optimizer they
        may be None or sparse.
      trainable_variables: The variables, needed on the first call unless the
        optimizer is built.

    Raises:
      RuntimeError: if the model holds its slow weights for evaluation.
    """
    self.check_that_it_can_train()
    grads = list(grads)
    if not grads:
      return  # As Keras' optimizers do.
    variables = self._build_for(grads, trainable_variables)
    if not self.built:
      backend.refuse_to_run(_NO_VALUES.format(name=self.name))
      return

    with backend.after(grads):
      self._update(grads, variables)

  def _update(self, grads, variables):
    last_update = list(zip(grads, variables))
    self._mark_trained(last_update)

    # phi = theta, where the update below is the first of a period.
    is_to_start = self._replicas.begin(
      self._period.is_to_start(), self._pairs.is_trained
    )
    self._assign_if(is_to_start, self._start)

    # theta = theta + A(L, theta, d), unless gradients are accumulated.
    counts = period.read_counts(self.inner_optimizer)
    self.inner_optimizer.apply(self._replicas.gradients(grads), variables)
    updates = period.updates_since(counts, self.inner_optimizer)

    # phi = phi + alpha (theta - phi); theta = phi, after the last of k updates.
    due = self._period.count(updates)
    self._replicas.meet(due, self._pairs.is_trained)
    alpha = self._step_size.at(self, last_update, due)
    self._assign_if(due, lambda: self._slow_step(alpha), is_frequent=True)
    self.periods_done.assign_add(ops.cast(due, self.periods_done.dtype))

  def _start(self):
    """Yields the assignments that start a period."""
    yield from self._replicas.resumed(self._pairs)
    yield from self._copy_to_slow()
    yield self._period.start()

  def _slow_step(self, alpha):
    """Yields the assignments that end a period: weights, slots, statistics."""
    yield from self._slow_weights_step.assignments(alpha)
    yield from self._inner_state_rule.synchronized(alpha)
    yield from self._followers.moved(alpha, self._pull_back)
    yield self.last_step_size, alpha
    yield from self._restart_nested()

  def _build_for(self, grads, variables):
    """Builds for the variables that `grads` are of, and returns them."""
    if variables is not None:
      variables = list(variables)
      self.build(variables)
      return variables
    if not self.built and not self._waits_for_values:
      raise ValueError(
        "`apply` needs `trainable_variables` in its first call, unless "
        "`build` was called before. Received: trainable_variables=None"
      )
    variables = keras_internals.built_variables(self)
    # `fit` on JAX takes the values of the model that it trains, and these.
    if not keras_internals.has_value(self._period.counter) and any(
      map(keras_internals.has_value, variables)
    ):
      raise ValueError(
        f"The optimizer '{self.name}' was built for another model than the one "
        "that `fit` trains: make a new optimizer for each model."
      )
    if self.built and len(grads) != len(variables):
      raise ValueError(
        "`grads` must hold one gradient for each of the "
        f"{len(variables)} variables that the optimizer was built for. "
        f"Received: {len(grads)} gradients"
      )
    return variables

  def _mark_trained(self, last_update):
    self._pairs.mark_trained(
      self._index_of(variable)
      for gradient, variable in last_update
      if gradient is not None
    )

  def _assign_if(self, condition, assignments, is_frequent=False):
    backend.assign_if(
      condition,
      assignments,
      self._assign,
      variables=keras_internals.built_variables(self) + self.variables,
      can_fuse=self._can_fuse,
      is_frequent=is_frequent,
    )

  def __repr__(self) -> str:
    """Returns the call that makes such an optimizer, in all its arguments."""
    return description.describe(self)

  @classmethod
  def from_config(
    cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
  ) -> "Lookahead":
    """Creates an optimizer from what `get_config` returned.

    Local steps are left out where the backend has no replicas.
    """
    if backend.replicas is None and config.get("local_steps"):
      config = config | {"local_steps": False}
    return super().from_config(config, custom_objects)

  def get_config(self) -> dict[str, Any]:
    """Returns the arguments, with the optimizers serialized."""
    config = super().get_config() | {
      "sync_period": self.sync_period,
      "slow_step_size": self._step_size.serialized() or self.slow_step_size,
      "inner_state": self.inner_state,
      "exclude": self._exclusion.get_config(),
      "slow_dtype": self._slow_dtype,
      "pull_back": self.pull_back,
      "slow_device": self._slow_device,
      "statistics": self._followers.describe(),
      "local_steps": self.local_steps,
    }
    if self.outer_optimizer is not None:
      del config["slow_step_size"]
    return config | self._outer_rule.arguments()
