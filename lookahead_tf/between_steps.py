"""What the host does with Lookahead between its training steps."""

import itertools
import warnings
from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

from lookahead_tf import (
  arguments,
  batch_norm,
  keras_internals,
  models,
  names,
  nesting,
)
from lookahead_tf.backends import backend
from lookahead_tf.period import Period
from lookahead_tf.wrapper import OptimizerWrapper


class BetweenSteps(OptimizerWrapper):
  """Starts, ends, swaps, saves and loads what the steps of Lookahead work on.

  Lookahead, which is built on it, makes the slow weights and the steps.

  Args:
    inner_optimizer: A Keras optimizer.
    sync_period: The number of its updates in a period.
    name: Name of the optimizer.

  Attributes:
    evaluation: What `lookahead_tf.slow_weights` keeps while the model holds the
      slow weights; else None.
    slow_weights: List parallel to the variables that the optimizer was built
      with: a variable of the same shape, or None if it is excluded.
  """

  def __init__(
    self,
    inner_optimizer: keras.optimizers.Optimizer,
    sync_period: int,
    name: str | None,
  ):
    super().__init__(inner_optimizer, name=name)
    keras_internals.count_on_each_replica(self)
    self._period = Period(self, sync_period)
    self.evaluation: Any = None
    # Whether state was loaded since the last `fit` with SwapSlowWeights began.
    self._has_new_state = False
    self._periods_at_last_stop = 0
    # `build` makes these.
    self.slow_weights: list[Any] = []
    self._pairs: Any = None
    self._inner_state_rule: Any = None
    self._outer_rule: Any = None
    self._followers: Any = None
    self._exclusion: Any = None
    self._replicas: Any = None

  def check_that_it_can_train(self) -> None:
    """Raises a RuntimeError if the model holds its slow weights.

    Or if the model whose statistics follow is not known yet.
    """
    if self.evaluation is not None:
      raise RuntimeError(
        f"Optimizer '{self.name}' cannot train now: the model holds its slow "
        "weights. Leave the `slow_weights` block first; after an evaluation "
        "that was interrupted, call end_evaluation()."
      )
    if self._followers.are_of_a_file:
      raise RuntimeError(
        f"Optimizer '{self.name}' synchronizes moving statistics, and came "
        "from a file, which does not hold the model that they are of: assign "
        "`optimizer.statistics = model` first."
      )

  def start_period(self) -> None:
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
        "start_period needs an optimizer that is built; until then there are "
        "no slow weights, and they start at the weights of the model."
      )
    self._keep_weights()
    self._assign_all(self._copy_to_slow())
    self._assign_all(self._restart())

  def finish_training(self) -> None:
    """Leaves the slow weights in the model; further training starts a period.

    It does nothing where no update was made since the last period was started
    or since weights were loaded: then those of the model are the slow weights.
    """
    self._keep_weights()
    if self.built and not self.is_period_to_start():
      self._replicas.finish_training()
      self._assign_all(self.swapped())
      self._assign_all(self._restart())

  def finalize_variable_values(self, var_list: list[Any]) -> None:
    """Leaves the slow weights in the model, as Algorithm 1 returns them.

    Keras calls it at the end of `fit`. Further training starts a period from
    the weights that the model then has. With `use_ema=True` in the inner
    optimizer, these are its averages.
    """
    if not backend.has_value(self._period.counter):
      return  # An error in `fit` on JAX, which calls this all the same.
    if self.built:
      self._check_owner(var_list)
    if self.built and not self.is_period_to_start():
      self._warn_if_no_period_was_completed()
    self.finish_training()
    super().finalize_variable_values(var_list)

  def _warn_if_no_period_was_completed(self):
    """Warns if training has stopped before it could move the slow weights."""
    periods = int(ops.convert_to_numpy(self.periods_done))
    if periods == self._periods_at_last_stop:
      warnings.warn(
        f"Optimizer '{self.name}' made {self._period.updates} updates, less "
        f"than a period of sync_period={self.sync_period}: the model is left "
        "with the slow weights, which have not moved. Train for more steps in "
        "one call of fit, or take a smaller sync_period.",
        stacklevel=4,
      )
    self._periods_at_last_stop = periods

  def end_evaluation(self) -> None:
    """Puts the fast weights back after an evaluation that was interrupted.

    A `slow_weights` block does it by itself; the SwapSlowWeights callback can
    not where Keras leaves `evaluate` or `fit` by an exception. Where weights
    were assigned to the model or a file was loaded since, these stay.
    """
    if self.evaluation is not None:
      self.evaluation.undo_unless_changed()

  def _keep_weights(self):
    """Ends an evaluation with the weights that the model has."""
    if self.evaluation is not None:
      self.evaluation.keep()

  reset_slow_weights = names.renamed("reset_slow_weights", start_period)
  restore_fast_weights = names.renamed("restore_fast_weights", end_evaluation)
  return_slow_weights = names.renamed("return_slow_weights", finish_training)

  def begin_fit(self, was_interrupted: bool) -> None:
    """Deals with what a `fit` that was interrupted has left.

    Its end would have started a period anew: after it, weights may have been
    assigned to the model. State that was loaded since is gone on from.

    Args:
      was_interrupted: Whether the last `fit` of the model did not come to its
        end.
    """
    if self.evaluation is not None and self.evaluation.is_by_callback:
      self.end_evaluation()
    elif (
      was_interrupted
      and not self._has_new_state
      and not self.is_period_to_start()
    ):
      self.start_period()
    self._has_new_state = False

  # What evaluation.py, callbacks.py and step_size.py need.

  def begin_evaluation(self, evaluation: Any) -> None:
    """Puts the slow weights into the model, and refuses to train.

    Args:
      evaluation: What holds the fast weights; see evaluation.py.
    """
    self.evaluation = evaluation
    if self.is_period_to_start():
      # The weights of the model are the slow weights.
      self._assign_all(self._copy_to_slow())
    else:
      self._assign_all(self.swapped())
    self._assign_all(self._restart())

  def swapped(self) -> Iterator[tuple[Any, Any]]:
    """Yields (fast, slow) for each variable that an evaluation swaps."""
    yield from self._pairs.trained()
    yield from self._followers.pairs()

  def find_statistics(self, model: Any) -> None:
    """Takes the moving statistics of `model` for those that a file is of."""
    if self._followers.are_of_a_file:
      statistics = batch_norm.statistics(model)
      included = self._exclusion.included(
        {"statistics": statistics}, are_all=False
      )
      self._followers.attach(
        model, list(itertools.compress(statistics, included["statistics"]))
      )

  def fast_and_slow(self) -> Iterator[tuple[Any, Any]]:
    """Yields (fast, slow) for each variable that has slow weights."""
    return self._pairs.all()

  def indexed(self) -> Iterator[tuple[int, Any, Any]]:
    """Yields (index, fast, slow) for each variable that has slow weights."""
    return self._pairs.indexed()

  def counters(self) -> Iterator[Any]:
    """Yields the variables that count updates in periods, nested ones too."""
    yield self._period.counter
    for nested in self._nested():
      yield from nested.counters()

  def is_period_to_start(self) -> bool:
    """Returns whether the next update starts a period."""
    return self._period.updates < 0

  @property
  def updates_in_period(self) -> int:
    """The number of updates in the period under way, 0 before it starts."""
    return max(self._period.updates, 0)

  @property
  def periods_done(self) -> Any:
    """The number of periods done, an integer scalar variable."""
    return keras_internals.counter(self)

  def slow_of(self, variable: Any) -> Any:
    """Returns the slow weights of a variable, None if it is excluded."""
    return self.slow_weights[self._index_of(variable)]

  def _index_of(self, variable):
    """Returns the place of a variable among those that this was built for."""
    try:
      return keras_internals.index_of(self, variable)
    except KeyError:
      raise ValueError(
        f"The optimizer '{self.name}' was not built for the variable "
        f"{models.path_of(variable)}, which is of another model, or of a layer "
        "that was made trainable since: make a new optimizer."
      ) from None

  def _check_owner(self, variables):
    """Raises a ValueError if this was built for none of `variables`."""
    if variables and not any(
      keras_internals.was_built_for(self, variable) for variable in variables
    ):
      self._index_of(variables[0])

  # Assignments, (variable, value) pairs, and what makes them.

  def _copy_to_slow(self):
    """Yields what makes the weights of the model the slow weights."""
    for index, fast, slow in self._pairs.indexed():
      yield from self._outer_rule.started(index, slow, fast)
      yield slow, fast
    for fast, slow in self._followers.pairs():
      yield slow, fast
    yield from self._inner_state_rule.started()

  def _restart(self):
    """Yields what makes the next update start a period, of those inside too."""
    yield self._period.restart()
    yield from self._restart_nested()

  def _restart_nested(self):
    """Yields what makes each Lookahead inside this one start a period."""
    for nested in self._nested():
      yield from nested._restart()

  def _nested(self):
    """Yields the outermost of the Lookaheads inside this one."""
    yield from nesting.outermost(self.inner_optimizer, BetweenSteps)

  def _assign_all(self, assignments):
    """Makes assignments."""
    for variable, value in assignments:
      self._assign(variable, value)

  def _assign(self, variable, value):
    value = ops.cast(ops.convert_to_tensor(value), variable.dtype)
    self.assign(variable, backend.unshared(value))

  # Saving and loading.

  def set_weights(self, weights: list[Any]) -> None:
    """Assigns `weights`, arrays in the order of `variables`."""
    self._receive_state()
    super().set_weights(weights)

  def load_own_variables(self, store: Any) -> None:
    """Reads own variables; without them a period starts at the next update."""
    self._receive_state()
    self._assign_all(self._restart())
    super().load_own_variables(store)
    if self._replicas.is_to_start_after_load(self.is_period_to_start()):
      self._assign_all(self.swapped())
    self._periods_at_last_stop = int(ops.convert_to_numpy(self.periods_done))

  def _receive_state(self):
    """Forgets the fast weights that wait for the end of an evaluation."""
    self._keep_weights()
    self._has_new_state = True

  def set_updates(self, updates: int) -> None:
    """Makes the counts those after `updates` updates from the beginning."""
    periods, updates = divmod(updates, self.sync_period)
    self.periods_done.assign(periods)
    self._period.counter.assign(updates)

  @property
  def sync_period(self) -> int:
    """The number of inner updates in a period, the paper's k."""
    return self._period.length

  @sync_period.setter
  def sync_period(self, value):
    self._period.length = arguments.sync_period(value)
