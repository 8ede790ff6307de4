"""Replicas that make the steps of a period by themselves, and then meet.

docs/local_steps.md says when to use them and what they send.
"""

import warnings
from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

from lookahead_tf import inner_state, keras_internals, nesting
from lookahead_tf.backends import backend
from lookahead_tf.pairs import Pairs
from lookahead_tf.wrapper import OptimizerWrapper

# Value of `replicas` that marks a period which must not be resumed.
_LEFT = -1


class SynchronousReplicas:
  """Replicas that sum their gradients in each step, as Keras lets them.

  It is what `LocalReplicas` starts from.

  Attributes:
    is_local: Whether replicas make the steps of a period by themselves.
    can_fuse: Whether XLA may make a slow step a part of the update before it.
    meeting_bytes: What a replica gives to a meeting.
    drift: Variable, a float32 scalar: how far replicas were from their mean
      when they last met. None where they are never apart.
  """

  is_local = False
  can_fuse = True
  meeting_bytes = 0
  drift: Any = None

  def build(self, lookahead: Any, statistics: list[Any]) -> None:
    """Finds what differs from replica to replica, which nothing does."""

  def gradients(self, gradients: list[Any]) -> list[Any]:
    """Returns what the inner optimizer takes for its gradients."""
    return gradients

  def begin(self, is_to_start: Any, is_trained: Any) -> Any:
    """Lets a period begin with the same weights on all replicas."""
    del is_trained
    return is_to_start

  def resumed(self, pairs: Pairs) -> Iterator[tuple[Any, Any]]:
    """Yields assignments that begin a period."""
    yield from ()

  def meet(self, due: Any, is_trained: Any) -> None:
    """Gives all replicas the mean of their weights at the end of a period."""
    del due, is_trained  # AutoGraph cannot convert a docstring alone.

  def copies(self) -> list[list[Any]]:
    """Returns what `Lookahead.replica_variables` does."""
    return []

  def is_to_start_after_load(self, is_period_to_start: bool) -> bool:
    """Whether a period of a file is one to leave for the slow weights."""
    return False

  def finish_training(self) -> None:
    """Gives all replicas the same of what has no slow weights."""


class LocalReplicas(SynchronousReplicas):
  """Replicas that make the steps of a period by themselves.

  Args:
    lookahead: The Lookahead, in the scope of the strategy.
    averages_slots: Whether the slots of the inner optimizer are averaged with
      the weights.
  """

  is_local = True

  def __init__(self, lookahead: Any, averages_slots: bool):
    self._replicas = backend.replicas.count()
    if self._replicas > 1 and _is_float16():
      raise ValueError(
        "`local_steps` must be False with mixed_float16 on several replicas: "
        "each replica would leave out other steps, and they would not meet. "
        "Take mixed_bfloat16. Received: local_steps=True with "
        f"{self._replicas} replicas"
      )
    self.can_fuse = self._replicas == 1
    self._own: list[Any] = []  # `build` makes it.
    self._averages_slots = averages_slots
    self.drift = lookahead.add_scalar("replica_drift", 0.0, "float32")
    # Files say by it how many replicas were apart.
    self._count = lookahead.add_scalar("replicas", self._replicas, "int")
    self._let_update_alone(lookahead)

  def _let_update_alone(self, lookahead):
    """Lets each replica update by itself, with the optimizers inside."""
    if self._replicas == 1:
      return
    for inner in nesting.descendants(lookahead):
      if not isinstance(inner, OptimizerWrapper):
        made = backend.replicas.read_count(keras_internals.counter(inner))
        keras_internals.update_on_each_replica(inner, made)

  def build(self, lookahead: Any, statistics: list[Any]) -> None:
    """Finds what differs from replica to replica.

    Args:
      lookahead: The Lookahead, whose inner optimizer is built.
      statistics: Moving statistics that are synchronized with the weights.
    """
    # A MultiOptimizer has its members from its build on.
    self._let_update_alone(lookahead)
    inner = lookahead.inner_optimizer
    self._weights = keras_internals.built_variables(inner)
    self._statistics = list(statistics)
    self._slots = []
    if self._averages_slots:
      self._slots = [
        slot for kind in inner_state.find_slots(inner) for _, slot in kind
      ]
    self._own = [*self._weights, *inner.variables]
    if self._replicas > 1:
      trained = [v for v in self._weights if getattr(v, "trainable", True)]
      self.meeting_bytes = backend.replicas.count_bytes(
        trained + self._statistics + self._slots
      )
    without_slow = [
      variable
      for variable, slow in zip(self._weights, lookahead.slow_weights)
      if slow is None
    ]
    self._average_others = None
    if self._replicas > 1 and without_slow:
      self._average_others = backend.replicas.make_average(without_slow)

  def gradients(self, gradients: list[Any]) -> list[Any]:
    """Returns the gradients of this replica's own loss.

    Args:
      gradients: This replica's parts of a sum over replicas.
    """
    if self._replicas == 1:
      return gradients
    return [backend.replicas.scaled(g, self._replicas) for g in gradients]

  def begin(self, is_to_start: Any, is_trained: Any) -> Any:
    """Gives all replicas what the first one has where a period starts.

    Args:
      is_to_start: Boolean scalar: whether the period is to start by itself.
      is_trained: As for `meet`.

    Returns:
      Boolean scalar: whether a period is to start, by itself or since the one
      under way is of other replicas.
    """
    self._leaves_period = ops.logical_and(
      ops.not_equal(self._count, self._replicas), ops.logical_not(is_to_start)
    )
    is_to_start = ops.logical_or(is_to_start, self._leaves_period)
    backend.replicas.copy_first_if(
      is_to_start, *self._moving(is_trained, self._statistics)
    )
    return is_to_start

  def resumed(self, pairs: Pairs) -> Iterator[tuple[Any, Any]]:
    """Yields what puts the slow weights into the model where it has others.

    It has where a file is from the middle of a period of another number of
    replicas, or has the first replica's weights alone.
    """
    for fast, slow in pairs.all():
      weights = ops.convert_to_tensor(fast)
      start = ops.cast(ops.convert_to_tensor(slow), weights.dtype)
      yield fast, ops.where(self._leaves_period, start, weights)
    yield self._count, self._replicas

  def meet(self, due: Any, is_trained: Any) -> None:
    """Gives all replicas the mean of their weights at the end of a period.

    Args:
      due: Boolean scalar: whether the period is over.
      is_trained: Takes the index of a variable and returns whether it had a
        gradient: True, False or a boolean scalar.
    """
    backend.replicas.average_if(
      due, *self._moving(is_trained, self._statistics + self._slots), self.drift
    )

  def _moving(self, is_trained, others):
    """Returns variables, and whether the steps of a replica move each."""
    trained = [is_trained(index) for index in range(len(self._weights))]
    moving = [(v, t) for v, t in zip(self._weights, trained) if t is not False]
    moving += [(other, True) for other in others]
    variables, conditions = map(list, zip(*moving))
    return variables, conditions

  def copies(self) -> list[list[Any]]:
    """Returns what `Lookahead.replica_variables` does."""
    if self._replicas == 1:
      return []
    return [*map(list, zip(*map(backend.replicas.copies, self._own)))]

  def is_to_start_after_load(self, is_period_to_start: bool) -> bool:
    """Whether a period of a file is one to leave for the slow weights.

    It is if the file has the weights of one replica of several. Then the next
    update starts a period from the slow weights.

    Args:
      is_period_to_start: Whether a period starts in any case.
    """
    saved = int(ops.convert_to_numpy(self._count))
    if is_period_to_start or saved == self._replicas == 1:
      return False
    several = "several" if saved == _LEFT else saved
    warnings.warn(
      f"State was loaded from the middle of a period of {several} replicas, of "
      "which a file of Keras has the weights of the first alone: the next "
      "update starts a period from the slow weights, which all had.",
      stacklevel=4,
    )
    self._count.assign(_LEFT)
    return True

  def finish_training(self) -> None:
    """Gives all replicas the mean of the weights that have no slow ones."""
    if self._average_others is not None:
      self._average_others()


def _is_float16():
  return keras.config.dtype_policy().compute_dtype == "float16"
