"""What becomes of the inner optimizer's slots at a synchronization."""

from collections.abc import Callable, Iterator
from typing import Any

import keras
from keras import ops

from lookahead_tf import keras_internals, nesting, synchronization


def is_float(variable: Any) -> bool:
  """Whether a variable holds floating-point numbers."""
  return "float" in keras.backend.standardize_dtype(variable.dtype)


def find_slots(
  optimizer: keras.optimizers.Optimizer,
) -> Iterator[list[tuple[Any, Any]]]:
  """Yields each kind of slot that a built optimizer keeps.

  Keras optimizers keep a kind of slot (a momentum, a second moment) in a list
  parallel to the variables that they were built with, `None` where a variable
  has no such slot. Scalars such as step counts and learning rates stand outside
  these lists and are not found, nor is any integer state. The optimizers within
  an optimizer (MultiOptimizer, another Lookahead) are searched too.

  Args:
    optimizer: A built Keras optimizer.

  Yields:
    A list of pairs (model variable, its slot of this kind).
  """
  variables = keras_internals.built_variables(optimizer)
  for slots in keras_internals.slot_lists(optimizer):
    yield [
      (variable, slot)
      for variable, slot in zip(variables, slots)
      if isinstance(slot, keras.Variable) and is_float(slot)
    ]
  for child in nesting.children(optimizer):
    yield from find_slots(child)


class Maintain:
  """Leaves the slots as they are: the rule that others start from."""

  def __init__(
    self,
    inner_optimizer: keras.optimizers.Optimizer,
    owners: list[Any],
    add_anchor: Callable[[Any], Any],
  ):
    del inner_optimizer, owners, add_anchor

  def synchronized(self, alpha: Any) -> Iterator[tuple[Any, Any]]:
    """Yields the assignments, (variable, value), of a synchronization."""
    del alpha
    yield from ()

  def started(self) -> Iterator[tuple[Any, Any]]:
    """Yields the assignments that start a period: (anchor, its slot)."""
    yield from ()


class Interpolate(Maintain):
  """Moves each slot as the weights are moved, towards it from its anchor.

  The anchor of a slot, one variable of its shape and dtype, starts at the value
  that the slot has now and holds its value at each synchronization.
  """

  def __init__(
    self,
    inner_optimizer: keras.optimizers.Optimizer,
    owners: list[Any],
    add_anchor: Callable[[Any], Any],
  ):
    self._anchored = [
      (add_anchor(slot), slot)
      for kind in find_slots(inner_optimizer)
      for variable, slot in kind
      if any(variable is owner for owner in owners)
    ]

  def synchronized(self, alpha: Any) -> Iterator[tuple[Any, Any]]:
    """Yields the assignments, (variable, value), of a synchronization."""
    for anchor, slot in self._anchored:
      value = synchronization.slow_step(anchor, slot, alpha)
      yield slot, value
      yield anchor, ops.convert_to_tensor(slot)

  def started(self) -> Iterator[tuple[Any, Any]]:
    """Yields the assignments that start a period: (anchor, its slot)."""
    yield from self._anchored


class Reset(Maintain):
  """Returns each slot to what it is in an optimizer that was just built.

  A kind of slot that starts as a copy of the weights (the momentum of
  ScheduleFreeAdamW) starts from the new weights. Initial values are kept as one
  number where a slot starts filled with one, as nearly all do.
  """

  def __init__(
    self,
    inner_optimizer: keras.optimizers.Optimizer,
    owners: list[Any],
    add_anchor: Callable[[Any], Any],
  ):
    del add_anchor
    fresh = _make_twin(inner_optimizer)
    self._slots = [
      (variable, slot, value)
      for kind, fresh_kind in zip(
        find_slots(inner_optimizer), find_slots(fresh)
      )
      for (variable, slot), value in zip(kind, _initial_values(fresh_kind))
      if any(variable is owner for owner in owners)
    ]

  def synchronized(self, alpha: Any) -> Iterator[tuple[Any, Any]]:
    """Yields the assignments, (variable, value), of a synchronization."""
    del alpha
    for variable, slot, value in self._slots:
      yield slot, _initial_value(slot, value, weights=variable)

  def of(self, owner: Any, weights: Any) -> Iterator[tuple[Any, Any]]:
    """Yields the assignments that reset the slots of one variable.

    Args:
      owner: The variable that the optimizer has the slots for.
      weights: What a slot starts at that starts as a copy of the weights.
    """
    for variable, slot, value in self._slots:
      if variable is owner:
        yield slot, _initial_value(slot, value, weights)


# Each is made with the built inner optimizer, the variables whose slots are
# concerned, and a function that adds a variable as a copy of another.
# Slots are averaged over replicas where these meet, before the slow step.
RULES = {
  "maintain": Maintain,
  "interpolate": Interpolate,
  "reset": Reset,
  "average": Maintain,
}


def _make_twin(optimizer):
  """Returns a fresh optimizer of the same kind, built on the same variables.

  The optimizer itself may have made updates, or have been filled from a
  checkpoint while it was built. No slot depends on the learning rate, which may
  be a function that cannot be copied.
  """
  config = optimizer.get_config()
  if "learning_rate" in config:
    config["learning_rate"] = 1.0
  twin = type(optimizer).from_config(config)
  twin.build(keras_internals.built_variables(optimizer))
  return twin


def _initial_values(kind):
  """Returns the value of each slot: a number, an array, or None for weights."""
  values = [ops.convert_to_numpy(slot) for _, slot in kind]
  # Zeros that equal weights of zero say nothing.
  if any(value.any() for value in values) and all(
    value.shape == tuple(variable.shape)
    and (value == ops.convert_to_numpy(variable)).all()
    for value, (variable, _) in zip(values, kind)
  ):
    return [None] * len(kind)
  numbers = [_single_value(value) for value in values]
  return [
    value if number is None else number
    for value, number in zip(values, numbers)
  ]


def _initial_value(slot, value, weights):
  """Returns the tensor that a slot starts at."""
  if value is None:
    return ops.cast(ops.convert_to_tensor(weights), slot.dtype)
  if isinstance(value, float):
    return ops.full(slot.shape, value, slot.dtype)
  return ops.convert_to_tensor(value, slot.dtype)


def _single_value(array):
  """Returns the number that `array` is filled with, or None."""
  first = array.flat[0] if array.size else 0.0
  return float(first) if (array == first).all() else None
