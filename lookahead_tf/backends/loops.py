"""What the loops of zero or one iterations of TensorFlow and JAX share."""

from collections.abc import Callable, Iterable
from typing import Any

import keras
from keras import ops


def assign_all(
  assignments: Iterable[tuple[Any, Any]],
  assign: Callable[[Any, Any], None],
  condition: Any,
) -> None:
  """Makes assignments in the body of a loop.

  Args:
    assignments: (variable, value) pairs, as of `assign_if`.
    assign: Takes a variable and its new value.
    condition: Scalar boolean tensor, the condition of the loop, which is true
      wherever the body runs. A selection by `condition` looks to XLA like a
      write of the copied variable, whose value does not change: docs/design.md
      says why that is needed.
  """
  for variable, value in assignments:
    if not isinstance(value, keras.Variable):
      assign(variable, value)
      continue
    copied = ops.where(
      condition, ops.convert_to_tensor(value), ops.convert_to_tensor(variable)
    )
    assign(variable, copied)
    assign(value, copied)
