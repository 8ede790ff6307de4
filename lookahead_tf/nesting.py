"""Optimizers inside optimizers."""

from collections.abc import Iterator
from typing import Any

import keras


def children(
  optimizer: keras.optimizers.Optimizer,
) -> Iterator[keras.optimizers.Optimizer]:
  """Yields the optimizers that `optimizer` itself holds, built or not.

  These are the inner one of a LossScaleOptimizer or a Lookahead, those of a
  MultiOptimizer, and whatever an optimizer of one's own is around. The outer
  optimizer of a Lookahead is none of them: it trains the slow weights.
  """
  outer = vars(optimizer).get("outer_optimizer")
  for child in attributes_of_kind(optimizer, keras.optimizers.Optimizer):
    if child is not outer:
      yield child


def attributes_of_kind(owner: Any, kind: type) -> list[Any]:
  """Returns the attributes of a kind, and those in lists and dictionaries.

  Each is there once: an attribute stands in dictionaries of TensorFlow too.

  Args:
    owner: Any object that has a `__dict__`.
    kind: The class.
  """
  found = {}
  for value in vars(owner).values():
    found |= {id(x): x for x in contents(value) if isinstance(x, kind)}
  return list(found.values())


def contents(value: Any) -> Iterator[Any]:
  """Yields `value`, or what it holds if it is a list, tuple or dictionary."""
  # Not keras.tree: it sorts keys, and those of TensorFlow can be any objects.
  if isinstance(value, dict):
    value = [*value.values()]
  if isinstance(value, (list, tuple)):
    for element in value:
      yield from contents(element)
  else:
    yield value


def descendants(
  optimizer: keras.optimizers.Optimizer,
) -> Iterator[keras.optimizers.Optimizer]:
  """Yields all optimizers inside `optimizer`, at any depth."""
  for child in children(optimizer):
    yield child
    yield from descendants(child)


def innermost(
  optimizer: keras.optimizers.Optimizer,
) -> Iterator[keras.optimizers.Optimizer]:
  """Yields the optimizers inside `optimizer` that hold no others."""
  for child in descendants(optimizer):
    if not any(True for _ in children(child)):
      yield child


def outermost(
  optimizer: keras.optimizers.Optimizer,
  kind: type[keras.optimizers.Optimizer],
) -> Iterator[keras.optimizers.Optimizer]:
  """Yields the optimizers of `kind` in a tree, but not those inside them."""
  if isinstance(optimizer, kind):
    yield optimizer
    return
  for child in children(optimizer):
    yield from outermost(child, kind)
