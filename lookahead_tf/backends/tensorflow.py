"""What Lookahead needs of TensorFlow itself."""

import contextlib
import functools
from collections.abc import Callable, Iterable
from typing import Any

import keras
import tensorflow as tf
from tensorflow.python.ops import control_flow_util

from lookahead_tf import nesting
from lookahead_tf.backends import loops

# Code under this scope runs now, not in the function that is being traced.
# Keras' trainer first builds an optimizer inside the traced training step,
# where an assignment to a new variable would be traced once and then lost.
run_now = tf.init_scope


def update_if(
  condition: Any,
  updates: Callable[[], Iterable[tuple[Any, Any]]],
  assign: Callable[[Any, Any], None],
  variables: list[Any],
  can_fuse: Callable[[], bool],
  is_frequent: bool,
) -> None:
  """Makes `updates` if `condition` holds.

  Compiled by XLA for CPUs, updates that can fuse select between the new value
  and the old. A selection by one scalar becomes a branch of the kernel: nothing
  is read or written if `condition` does not hold, and the new value is computed
  in the kernel that computes what it starts from.

  Anywhere else it is a loop of zero or one iterations. A conditional would make
  XLA copy each buffer that passes through it; a loop carries its state in
  place.

  Args:
    condition: Scalar boolean tensor.
    updates: Yields (variable, value) pairs. A value may be computed from what
      the pairs before it were assigned to, or be another variable to copy.
    assign: Takes a variable and its new value.
    variables: All variables that are read or assigned to.
    can_fuse: Tells whether nothing else in the step uses what they start from.
      It is asked while tracing for XLA only.
    is_frequent: Whether it will be called often enough to be worth compiling.
      Each elementwise operation of a graph is a pass over memory; XLA makes all
      of a formula one.
  """
  if _is_compiled_for_cpus(variables) and can_fuse():
    for variable, value in updates():
      value = tf.cast(value, variable.dtype)
      assign(variable, tf.where(condition, value, variable))
    return

  def assign_all():
    loops.assign_all(updates(), assign, condition)

  if is_frequent and _can_compile(variables):
    assign_all = tf.function(assign_all, autograph=False, jit_compile=True)

  def body(_):
    assign_all()
    return (tf.constant(False),)

  tf.while_loop(cond=lambda pending: pending, body=body, loop_vars=(condition,))


def _is_compiled_for_cpus(variables):
  """Whether XLA will compile for CPUs what is being traced."""
  # There is no public way to ask.
  if not control_flow_util.GraphOrParentsInXlaContext(
    tf.compat.v1.get_default_graph()
  ):
    return False
  if tf.distribute.has_strategy():
    devices = tf.distribute.get_strategy().extended.worker_devices
  else:
    devices = _devices(variables)
  return all("CPU" in device.upper() for device in devices)


def _can_compile(variables):
  """Whether XLA can compile a part of the graph that is being traced.

  Not in eager mode, where it would be compiled at each call; not under a
  strategy, whose replicas and TPUs have ways of their own; and not over
  variables on several devices.
  """
  if tf.executing_eagerly() or tf.distribute.has_strategy():
    return False
  devices = _devices(variables)
  return len(devices) == 1 and has_xla(devices.pop())


def _devices(variables):
  return {
    (v.value if isinstance(v, keras.Variable) else v).device for v in variables
  }


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
