"""Tracing of functions."""

from collections.abc import Callable
from typing import Any


def concrete(function: Callable[..., Any]) -> Callable[..., Any]:
  """Returns a function that calls the concrete functions of a `tf.function`.

  The function does what `function` does, and is traced once for each shape.
  TensorFlow warns where five of the last ten calls of a `tf.function` were
  traced, and counts the calls of all functions that the same code has made
  together. The warning is for mistakes. Here shapes are few, or one run of
  several has its own function.

  Args:
    function: A `tf.function` of tensors, or of values distributed over the
      replicas of a strategy.
  """

  def call(*arguments):
    return function.get_concrete_function(*arguments)(*arguments)

  return call
