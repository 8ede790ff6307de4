"""How functions are traced."""

from collections.abc import Callable
from typing import Any


def concrete(function: Callable[..., Any]) -> Callable[..., Any]:
  """Returns a function that calls the concrete functions of a `tf.function`.

  It does what `function` does, which is traced once for each shape. Calls of a
  `tf.function` warn where five of the last ten were traced, and calls of all
  functions that the same code has made count together. That warning is for
  mistakes. Here shapes are few, or one run of several has its own function.

  Args:
    function: A `tf.function` of tensors, or of values distributed over the
      replicas of a strategy.
  """

  def call(*arguments):
    return function.get_concrete_function(*arguments)(*arguments)

  return call
