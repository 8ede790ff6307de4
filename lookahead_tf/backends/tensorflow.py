"""What Lookahead needs of TensorFlow itself."""

import contextlib
import functools
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from lookahead_tf import nesting

# Code under this scope runs now, not in the function that is being traced.
# Keras' trainer first builds an optimizer inside the traced training step,
# where an assignment to a new variable would be traced once and then lost.
run_now = tf.init_scope


def run_if(
  condition: Any,
  function: Callable[[], None],
  variables: list[Any],
  is_frequent: bool = False,
) -> None:
  """Calls `function`, which only assigns to variables, if `condition` holds.

  It is a loop of zero or one iterations: XLA on the CPU copies each buffer that
  passes through a conditional, but carries the state of a loop in place.

  Args:
    condition: Scalar boolean tensor.
    function: Its assignments run in the order in which it makes them.
    variables: All variables that it may read or assign to.
    is_frequent: Whether it will be called often enough to be worth compiling.
      Each elementwise operation of a graph is a pass over memory; XLA makes all
      of a formula one.
  """
  if is_frequent and _can_compile(variables):
    function = tf.function(function, autograph=False, jit_compile=True)

  def body(_):
    function()
    return (tf.constant(False),)

  tf.while_loop(cond=lambda pending: pending, body=body, loop_vars=(condition,))


def _can_compile(variables):
  """Whether XLA can compile a part of the graph that is being traced.

  Not in eager mode, where it would be compiled at each call; not under a
  strategy, whose replicas and TPUs have ways of their own; and not over
  variables on several devices.
  """
  if tf.executing_eagerly() or tf.distribute.has_strategy():
    return False
  devices = {
    (v.value if isinstance(v, keras.Variable) else v).device for v in variables
  }
  return len(devices) == 1 and has_xla(devices.pop())


@functools.cache
def has_xla(device: str) -> bool:
  """Whether XLA compiles for `device`: a build for TPUs lacks it for CPUs."""
  with tf.init_scope(), tf.device(device):
    try:
      tf.function(lambda x: x + 1.0, jit_compile=True)(tf.constant(1.0))
    except tf.errors.OpError:
      return False
  return True


def join_strategy(
  optimizer: keras.optimizers.Optimizer, variables: list[Any]
) -> None:
  """Takes an optimizer made outside a strategy into that of `variables`.

  Its scalars were made for one device: each replica would count an update as
  one of its own, and Keras refuses to add slots. They get replicas here.

  Args:
    optimizer: An optimizer that is not built; those inside it join too.
    variables: The variables that it will be built for.
  """
  strategies = [
    getattr(v.value, "distribute_strategy", None)
    for v in variables
    if isinstance(v, keras.Variable)
  ]
  strategy = strategies[0] if strategies else None
  if strategy is None or strategy is optimizer._distribution_strategy:
    return
  with strategy.scope():
    for member in [optimizer, *nesting.descendants(optimizer)]:
      member._distribution_strategy = strategy
      for scalar in member._variables:
        scalar._initialize(scalar.numpy())


def count_alone(counter: Any) -> None:
  """Lets each replica update by itself a counter that was just created.

  The first replica's `iterations` is what Keras sends to all others, although
  they count the same. On TPUs that is an operation by which all cores meet, in
  each step.

  Args:
    counter: `_iterations` of an optimizer that is being created.
  """
  counter._aggregation = "none"
  counter._initialize(0)


def beside(
  optimizer: keras.optimizers.Optimizer, variable: Any
) -> contextlib.AbstractContextManager:
  """Returns a scope in which `optimizer` adds variables where `variable` is.

  Created there, a variable has the replicas of a `tf.distribute` strategy also
  outside the strategy's own scope.
  """
  if isinstance(variable, keras.Variable):
    variable = variable.value
  strategy = optimizer._distribution_strategy
  return strategy.extended.colocate_vars_with(variable)


def unshared(value: Any) -> Any:
  """Returns `value` in memory that no other variable changes in place."""
  return value


def has_value(variable: Any) -> bool:
  """Whether a variable has a value at this moment: here it always has."""
  return True


def snapshot(variable: Any) -> Callable[[], None]:
  """Returns a function that assigns the present value of a variable again.

  Each replica gets its own back: statistics of batch normalization differ from
  replica to replica.
  """
  parts = getattr(variable.value, "values", (variable.value,))
  values = [part.numpy() for part in parts]

  def restore():
    for part, value in zip(parts, values):
      part.assign(value)

  return restore


def sum_over_replicas(value: Any) -> Any:
  """Returns the sum of a tensor over the replicas of the step under way."""
  context = tf.distribute.get_replica_context()
  if context is None or context.num_replicas_in_sync == 1:
    return value
  return context.all_reduce(tf.distribute.ReduceOp.SUM, value)


# Makes a function of the forward pass alone as fast as the backend can.
compile_forward = tf.function
