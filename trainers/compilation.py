"""Whether XLA compiles the training step, and how functions are traced."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from lookahead_tf.backends import backend


def uses_xla(
  jit_compile: bool | None, strategy: tf.distribute.Strategy, on_cpu: bool
) -> bool:
  """Returns whether XLA compiles one replica's step.

  Args:
    jit_compile: The config's field; None for what is fastest.
    strategy: The strategy.
    on_cpu: Whether the step is faster with XLA on a CPU too.
  """
  if jit_compile is not None:
    return jit_compile
  # On a TPU the strategy compiles by itself, and XLA on CPU and GPU compiles no
  # step in which replicas meet.
  is_tpu = isinstance(strategy, tf.distribute.TPUStrategy)
  if is_tpu or strategy.num_replicas_in_sync > 1:
    return False
  if tf.config.list_logical_devices("GPU"):
    return True
  return on_cpu and backend.has_xla("CPU:0")


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
