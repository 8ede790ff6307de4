"""Replicas of a tf.distribute strategy, and what they do together.

TensorFlow's part of `lookahead_tf.local_steps`.
"""

import math
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

_MEAN, _SUM = tf.distribute.ReduceOp.MEAN, tf.distribute.ReduceOp.SUM


def count() -> int:
  """Returns the number of replicas of the strategy whose scope this is."""
  return tf.distribute.get_strategy().num_replicas_in_sync


def copies(variable: Any) -> tuple[Any, ...]:
  """Returns the variables of this process' replicas, or the one alone."""
  variable = native(variable)
  return tuple(getattr(variable, "values", (variable,)))


def native(variable: Any) -> Any:
  """Returns the variable of TensorFlow that a variable of Keras is around."""
  return variable.value if isinstance(variable, keras.Variable) else variable


def read_count(variable: Any) -> int:
  """Returns what an integer scalar variable counts, 0 while a graph is made."""
  if not tf.executing_eagerly():
    return 0
  return int(keras.ops.convert_to_numpy(variable))


def scaled(gradient: Any, factor: float) -> Any:
  """Returns a gradient, which may be sparse or None, times a number."""
  if gradient is None:
    return None
  if isinstance(gradient, tf.IndexedSlices):
    return tf.IndexedSlices(
      gradient.values * factor, gradient.indices, gradient.dense_shape
    )
  return gradient * factor


def count_bytes(variables: list[Any]) -> int:
  """Returns the bytes of what `average_if` averages."""
  return sum(
    math.prod(v.shape) * max(tf.as_dtype(v.dtype).size, 4) for v in variables
  )


def average_if(
  condition: Any, variables: list[Any], is_moving: list[Any], drift: Any
) -> None:
  """Gives all replicas the mean of their variables if `condition` holds.

  Call it in the replica context, outside of loops and conditionals.

  Args:
    condition: Scalar boolean tensor, the same on all replicas.
    variables: What to average, floating-point variables.
    is_moving: List parallel to `variables`: True, or a scalar boolean tensor
      that says whether to average this one.
    drift: Scalar variable. It gets the distance of a replica from the mean:
      the root of its mean square over the replicas.
  """

  def meet(call, reduce):
    weights = call(lambda: [_wide(v) for v in variables])
    squared = call(take, reduce(_MEAN, weights, variables))
    squared = reduce(_MEAN, squared, [drift])
    call(lambda values: drift.assign(tf.sqrt(values[0])), squared)

  def take(means):
    squared = tf.zeros([])
    for variable, mean, is_its in zip(variables, means, is_moving):
      mine = _wide(variable)
      mean = tf.where(is_its, mean, mine)
      squared += tf.cast(tf.reduce_sum(tf.square(mine - mean)), tf.float32)
      variable.assign(tf.cast(mean, variable.dtype))
    return [squared]

  _together_if(condition, meet)


def copy_first_if(
  condition: Any, variables: list[Any], is_moving: list[Any]
) -> None:
  """Gives all replicas the variables of the first one if `condition` holds.

  Call it in the replica context, outside of loops and conditionals.

  Args:
    condition: Scalar boolean tensor, the same on all replicas.
    variables: What to copy, floating-point variables.
    is_moving: As for `average_if`.
  """

  def meet(call, reduce):
    call(take, reduce(_SUM, call(only_first), variables))

  def only_first():
    context = tf.distribute.get_replica_context()
    is_first = tf.equal(context.replica_id_in_sync_group, 0)
    values = [tf.convert_to_tensor(v) for v in variables]
    return [tf.where(is_first, v, tf.zeros_like(v)) for v in values]

  def take(values):
    for variable, value, is_its in zip(variables, values, is_moving):
      variable.assign(tf.where(is_its, value, variable))

  _together_if(condition, meet)


def make_average(variables: list[Any]) -> Callable[[], None]:
  """Returns a function that gives all replicas the mean of their variables.

  The function, a `tf.function`, is for the host: all processes have to call it
  between steps.

  Args:
    variables: What to average, floating-point variables of one strategy.
  """
  strategy = native(variables[0]).distribute_strategy

  @tf.function(autograph=False)
  def average():
    strategy.run(one_replica)

  def one_replica():
    context = tf.distribute.get_replica_context()
    means = context.all_reduce(_MEAN, [_wide(v) for v in variables])
    for variable, mean in zip(variables, means):
      variable.assign(tf.cast(mean, variable.dtype))

  return average


def _wide(variable):
  """Returns the value of a variable in at least float32.

  It is a copy on this replica's device, where reductions look for it.
  """
  value = tf.identity(variable)
  return tf.cast(value, tf.float32) if value.dtype.size < 4 else value


def _together_if(
  condition: Any, meet: Callable[[Callable, Callable], None]
) -> None:
  """Lets all replicas do something together if `condition` holds.

  Most strategies reduce outside of the replica context alone, which replicas
  can leave only outside of loops. So they leave it in each step, and the loop
  of zero or one iterations is there. TPUs, and GPUs for which XLA compiles the
  step, reduce within it.

  Args:
    condition: Scalar boolean tensor.
    meet: Takes two functions. `call(function, *lists)` calls a function, which
      returns a list, in each replica, with the replica's part of each list.
      `reduce(operation, list, variables)` reduces what `call` returned, each
      to where a variable is.
  """
  context = tf.distribute.get_replica_context()
  if context is None or context.num_replicas_in_sync == 1:
    return

  def run(condition, call, reduce):
    def body(_):
      meet(call, reduce)
      return (tf.constant(False),)

    tf.while_loop(lambda pending: pending, body, (condition,))

  if _reduces_within(context.strategy):
    run(
      condition,
      lambda function, *lists: function(*lists),
      lambda operation, values, _: context.all_reduce(operation, values),
    )
    return

  def outside(strategy, conditions):
    extended = strategy.extended
    run(
      strategy.experimental_local_results(conditions)[0],
      lambda function, *lists: extended.call_for_each_replica(
        function, args=lists
      ),
      lambda operation, values, places: extended.batch_reduce_to(
        operation, [*zip(values, map(native, places))]
      ),
    )

  context.merge_call(outside, args=(condition,))


def _reduces_within(strategy):
  return (
    isinstance(strategy, tf.distribute.TPUStrategy)
    or tf.__internal__.distribute.strategy_supports_no_merge_call()
  )
