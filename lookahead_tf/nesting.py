"""Optimizers inside optimizers."""

from collections.abc import Iterator

import keras


def children(
  optimizer: keras.optimizers.Optimizer,
) -> Iterator[keras.optimizers.Optimizer]:
  """Yields the optimizers that `optimizer` itself holds, built or not.

  These are the inner one of a LossScaleOptimizer or a Lookahead, and those of a
  MultiOptimizer.
  """
  for value in vars(optimizer).values():
    for child in value if isinstance(value, (list, tuple)) else (value,):
      if isinstance(child, keras.optimizers.Optimizer):
        yield child


def descendants(
  optimizer: keras.optimizers.Optimizer,
) -> Iterator[keras.optimizers.Optimizer]:
  """Yields all optimizers inside `optimizer`, at any depth."""
  for child in children(optimizer):
    yield child
    yield from descendants(child)


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
