"""Fast weights with their slow weights, and which of them training moves."""

from collections.abc import Iterator
from typing import Any

from lookahead_tf.backends import backend


class Pairs:
  """The variables that a Lookahead was built for, with their slow weights.

  Args:
    variables: The variables, of which at least one has slow weights.
    slow_weights: List parallel to `variables`: None for an excluded one.
  """

  def __init__(self, variables: list[Any], slow_weights: list[Any]):
    self._fast, self._slow = variables, slow_weights
    self._trained = backend.Marks(variables)

  def indexed(self) -> Iterator[tuple[int, Any, Any]]:
    """Yields (index, fast, slow) for each variable that has slow weights."""
    for index, (fast, slow) in enumerate(zip(self._fast, self._slow)):
      if slow is not None:
        yield index, fast, slow

  def all(self) -> Iterator[tuple[Any, Any]]:
    """Yields (fast, slow) for each variable that has slow weights."""
    for _, fast, slow in self.indexed():
      yield fast, slow

  def trained(self) -> Iterator[tuple[Any, Any]]:
    """Yields (fast, slow) for each variable that the inner optimizer moves.

    A variable that never had a gradient is moved by something else: statistics
    of batch normalization, a codebook that its layer averages, a counter. Its
    slow weights hold its value of the last synchronization, and are not for the
    model. Before the first step in a process gradients are not known; then
    Keras' `trainable` decides.
    """
    for index, fast, slow in self.indexed():
      is_trained = (
        self._trained.is_set(index)
        if self._trained.any()
        else getattr(fast, "trainable", True)
      )
      if is_trained:
        yield fast, slow

  def mark_trained(self, indices: Iterator[int]) -> None:
    """Remembers that the variables at `indices` had a gradient."""
    self._trained.set(indices)

  def is_trained(self, index: int) -> Any:
    """Returns whether a variable had a gradient: True, or a boolean scalar."""
    return self._trained.read(index)
