"""An optimizer that does something after every k updates of its inner one."""

import functools
import warnings
from typing import Any

from keras import ops

from lookahead_tf import arguments, nesting
from lookahead_tf.backends import backend
from lookahead_tf.wrapper import OptimizerWrapper

# Updates made in a period that starts with the next one, at the weights which
# the model then has.
_NOT_STARTED = -1

_NO_VALUES = (
  "Optimizer '{name}' cannot start: the variables that it is to train get "
  "their first values within the training step itself, from its data. Build "
  "the model before training, by a call of it with a batch."
)


class PeriodicOptimizer(OptimizerWrapper):
  """Counts the updates of the inner optimizer, and its own periods.

  The inner optimizer counts inner iterations. `_iterations`, which the base
  class creates, counts the outer ones of Algorithm 1: t, the periods done.

  A subclass implements `build`, `get_config`, `_end_period`, and
  `_start_period`, which yields (variable, value) pairs to assign where a period
  starts, with the weights of the model as they are.

  Args:
    inner_optimizer: A Keras optimizer.
    sync_period: The number of inner updates in a period.
    name: Name of the optimizer.
  """

  def __init__(self, inner_optimizer, sync_period: int, name: str | None):
    super().__init__(inner_optimizer, name=name)
    backend.count_alone(self._iterations)
    # Whether `build` was called for variables that had no values yet.
    self._waits_for_values = False
    # Set while the model holds the slow weights: see slow_weights.py.
    self._swap: Any = None
    # Whether state was loaded since the last `fit` with SwapSlowWeights began.
    self._has_new_state = False
    self._periods_at_last_stop = 0
    self._sync_period = self._add_scalar("sync_period", sync_period, "int")
    self._updates_in_period = self._add_scalar(
      "updates_in_period", _NOT_STARTED, "int"
    )
    self._is_nested = False
    for nested in self._nested():
      nested._is_nested = True

  def apply(
    self, grads: list[Any], trainable_variables: list[Any] | None = None
  ) -> None:
    """Makes one update of the inner optimizer, and synchronizes when due.

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
    if trainable_variables is not None:
      trainable_variables = list(trainable_variables)
      if not self.built:
        self.build(trainable_variables)
    if self._waits_for_values and not self.built:
      backend.refuse_to_run(_NO_VALUES.format(name=self.name))
      return
    starts = ops.less(self._updates_in_period, 0)
    self._update_if(starts, self._start_period_here)
    updates_before = self._counts()
    self.inner_optimizer.apply(grads, trainable_variables)
    self._count_updates(
      self._updates_since(updates_before),
      list(zip(grads, trainable_variables or self._trainable_variables)),
    )

  def check_that_it_can_train(self) -> None:
    """Raises a RuntimeError if the model holds its slow weights."""
    if self._swap is not None:
      raise RuntimeError(
        f"Optimizer '{self.name}' cannot train now: the model holds its slow "
        "weights. Leave the `slow_weights` block first; after an evaluation "
        "that was interrupted, call restore_fast_weights()."
      )

  def _counts(self):
    """Returns how many updates each optimizer that may count them has made."""
    return [ops.copy(each.iterations) for each in self._counting()]  # Reads.

  def _counting(self):
    """Returns the optimizers inside that may count the updates."""
    inner = self.inner_optimizer
    if isinstance(inner, PeriodicOptimizer):
      return inner._counting()
    return [inner, *nesting.innermost(inner)]

  def _updates_since(self, counts):
    """Returns how many updates the last call of the inner optimizer made.

    One of one's own around others may leave counting to them.
    """
    counts_now = self._counts()
    updates = functools.reduce(
      ops.maximum, map(ops.subtract, counts_now, counts)
    )
    if any(each.gradient_accumulation_steps for each in self._counting()):
      return updates
    # After a call, one that counts at all is not at 0: each call is an update.
    never = ops.equal(functools.reduce(ops.maximum, counts_now), 0)
    return ops.where(never, ops.ones_like(updates), updates)

  def _update_if(self, condition, updates, is_frequent=False):
    backend.update_if(
      condition,
      updates,
      self._put,
      variables=self._trainable_variables + self.variables,
      can_fuse=self._can_fuse,
      is_frequent=is_frequent,
    )

  def _can_fuse(self):
    """Whether XLA may make what is done every k updates part of the last one.

    It computes a variable twice, after copying what it starts from, if both
    this and the update use what the variable was in between.
    """
    return False

  def _put(self, variable, value):
    value = ops.cast(ops.convert_to_tensor(value), variable.dtype)
    self.assign(variable, backend.unshared(value))

  def _put_all(self, updates):
    for variable, value in updates:
      self._put(variable, value)

  def _start_period_here(self):
    yield from self._start_period()
    yield self._updates_in_period, 0

  def _count_updates(self, updates, last_update):
    """Ends the period if `updates` more inner updates complete it.

    Args:
      updates: Integer scalar, 0 or 1.
      last_update: (gradient, variable) pairs.
    """
    updates = ops.add(self._updates_in_period, updates)
    due = ops.greater_equal(updates, self._sync_period)
    self.assign(
      self._updates_in_period, ops.where(due, ops.zeros_like(updates), updates)
    )
    self._end_period(due, last_update)
    self._iterations.assign_add(ops.cast(due, self._iterations.dtype))

  def _let_period_start(self):
    """Makes the next update the first of a period, also of nested ones."""
    self._put_all(self._to_let_period_start())

  def _to_let_period_start(self):
    for updates in self._counters():
      yield updates, _NOT_STARTED

  def _counters(self):
    """Yields the variables that count the updates in a period, nested too."""
    yield self._updates_in_period
    for nested in self._nested():
      yield from nested._counters()

  def _nested(self):
    """Yields the outermost of the periodic optimizers inside this one."""
    yield from nesting.outermost(self.inner_optimizer, PeriodicOptimizer)

  def _is_period_to_start(self):
    return int(ops.convert_to_numpy(self._updates_in_period)) < 0

  def set_updates(self, updates: int) -> None:
    """Makes the counts those after `updates` updates from the beginning."""
    periods, updates = divmod(updates, self.sync_period)
    self._iterations.assign(periods)
    self._updates_in_period.assign(updates)

  def _warn_if_no_period_was_completed(self):
    """Warns if training has stopped before it could move the slow weights."""
    periods = int(ops.convert_to_numpy(self._iterations))
    if periods == self._periods_at_last_stop:
      updates = int(ops.convert_to_numpy(self._updates_in_period))
      warnings.warn(
        f"Optimizer '{self.name}' made {updates} updates, less than a period "
        f"of sync_period={self.sync_period}: the model is left with the slow "
        "weights, which have not moved. Train for more steps in one call of "
        "fit, or take a smaller sync_period.",
        stacklevel=4,
      )
    self._periods_at_last_stop = periods

  def set_weights(self, weights: list[Any]) -> None:
    """Assigns `weights`, arrays in the order of `variables`."""
    self._receive_state()
    super().set_weights(weights)

  def _receive_state(self):
    """Forgets the fast weights that wait for the end of an evaluation."""
    if self._swap is not None:
      self._swap.keep()
    self._has_new_state = True

  def load_own_variables(self, store: Any) -> None:
    """Reads own variables; without them a period starts at the next update."""
    self._receive_state()
    self._let_period_start()
    super().load_own_variables(store)
    self._periods_at_last_stop = int(ops.convert_to_numpy(self._iterations))

  @property
  def sync_period(self) -> int:
    """The number of inner updates in a period, the paper's k."""
    return int(ops.convert_to_numpy(self._sync_period))

  @sync_period.setter
  def sync_period(self, value):
    self._sync_period.assign(arguments.sync_period(value))
