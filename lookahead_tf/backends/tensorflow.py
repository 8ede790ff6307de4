"""What Lookahead needs of TensorFlow itself."""

import contextlib
import functools
from collections.abc import Callable, Iterable
from concurrent import futures
from typing import Any

import keras
import tensorflow as tf
from tensorflow.python.ops import control_flow_util

from lookahead_tf import nesting
from lookahead_tf.backends import loops, replicas

# Code under this scope runs now, not in the function that is being traced.
# Keras' trainer first builds an optimizer inside the traced training step,
# where an assignment to a new variable would be traced once and then lost.
run_now = tf.init_scope

# Whether a step of an optimizer can assign to variables that it does not train.
CAN_ASSIGN_STATISTICS = True
# Whether variables can be in the memory of the host, for one device beside it.
HAS_HOST_MEMORY = True
_NO_STRATEGY = tf.distribute.get_strategy()


def after(gradients: list[Any]) -> contextlib.AbstractContextManager:
  """Returns a context manager whose operations wait for a gradient.

  In `fit` the end of a data set whose size is unknown is an error of a step in
  the middle: without this, the step would count an update that it does not
  make, because counting needs no data. One gradient is enough, that of the last
  variable, which backpropagation has first: if updates waited for all, all
  gradients would be in memory at a time.

  Args:
    gradients: Those of the step, None where a variable has none.
  """
  return tf.control_dependencies([g for g in gradients if g is not None][-1:])


def run_untraced(function: Callable[[], None]) -> None:
  """Calls `function` where it can create variables, while a trace goes on.

  The second trace of a function refuses new variables, in `run_now` too. It
  does so in its own thread alone.
  """
  with futures.ThreadPoolExecutor(max_workers=1) as executor:
    executor.submit(function).result()


@tf.autograph.experimental.do_not_convert  # It would convert every assignment.
def assign_if(
  condition: Any,
  assignments: Callable[[], Iterable[tuple[Any, Any]]],
  assign: Callable[[Any, Any], None],
  variables: list[Any],
  can_fuse: bool,
  is_frequent: bool,
) -> None:
  """Makes assignments if `condition` holds.

  Compiled by XLA for CPUs, assignments that can fuse are a selection between
  the new value and the old; anywhere else they are the body of a loop of zero
  or one iterations: docs/design.md says why.

  Args:
    condition: Scalar boolean tensor.
    assignments: Yields (variable, value) pairs. A value may be computed from
      what the pairs before it were assigned to, or be another variable to copy.
    assign: Takes a variable and its new value.
    variables: All variables that are read or assigned to.
    can_fuse: Whether nothing else in the step uses what they start from.
    is_frequent: Whether it will be called often enough to be worth compiling.
      Each elementwise operation of a graph is a pass over memory; XLA makes all
      of a formula one.

  Raises:
    ValueError: if XLA is to compile a step over variables on several devices.
  """
  if len(_devices(variables)) > 1 and _is_compiled():
    raise ValueError(
      "`slow_device='host'` needs a training step that XLA does not compile: "
      "XLA has all variables on one device. Call compile with "
      "jit_compile=False."
    )
  if can_fuse and _is_compiled_for_cpus(variables):
    for variable, value in assignments():
      value = tf.cast(value, variable.dtype)
      assign(variable, tf.where(condition, value, variable))
    return

  def assign_all():
    loops.assign_all(assignments(), assign, condition)

  if is_frequent and _can_compile(variables):
    assign_all = tf.function(assign_all, autograph=False, jit_compile=True)

  def body(_):
    assign_all()
    return (tf.constant(False),)

  tf.while_loop(cond=lambda pending: pending, body=body, loop_vars=(condition,))


def either(
  condition: Any, first: Callable[[], Any], second: Callable[[], Any]
) -> Any:
  """Returns one of two tensors of one shape.

  The selection costs a pass over memory in a graph that XLA does not compile.
  There, a conditional for each variable would double the time to trace a step.

  Args:
    condition: Scalar boolean tensor.
    first: Computes what is returned if `condition` holds.
    second: Computes what is returned if not.
  """
  if tf.executing_eagerly():
    return first() if condition else second()
  return tf.where(condition, first(), second())


def _is_compiled():
  """Whether XLA will compile what is being traced."""
  # There is no public way to ask.
  graph = tf.compat.v1.get_default_graph()
  return control_flow_util.GraphOrParentsInXlaContext(graph)


def _is_compiled_for_cpus(variables):
  """Whether XLA will compile for CPUs what is being traced."""
  if not _is_compiled():
    return False
  if tf.distribute.has_strategy():
    devices = tf.distribute.get_strategy().extended.worker_devices
  else:
    devices = _devices(variables)
  return all("CPU" in device.upper() for device in devices)


def _can_compile(variables):
  """Whether XLA can compile a part of the graph that is being traced.

  XLA cannot in eager mode, where each call would compile; under a strategy,
  whose replicas and TPUs compile by themselves; and for variables on several
  devices.
  """
  if tf.executing_eagerly() or tf.distribute.has_strategy():
    return False
  devices = _devices(variables)
  return len(devices) == 1 and has_xla(devices.pop())


def _devices(variables):
  return {replicas.native(variable).device for variable in variables}


@functools.cache
def has_xla(device: str) -> bool:
  """Whether XLA compiles for `device`: a build for TPUs lacks it for CPUs."""
  with tf.init_scope(), tf.device(device):
    try:
      tf.function(lambda x: x + 1.0, jit_compile=True)(tf.constant(1.0))
    except tf.errors.OpError:
      return False
  return True


def check_strategy(
  optimizer: keras.optimizers.Optimizer, variables: list[Any]
) -> None:
  """Raises an error for an optimizer made outside the variables' strategy.

  Its scalars are for one device: each replica would count an update as one of
  its own, and Keras would refuse to add slots.

  Args:
    optimizer: An optimizer that is not built.
    variables: The variables that it will be built for.

  Raises:
    ValueError: if it, or one inside it, was made outside.
  """
  for strategy in {_strategy(variable) for variable in variables}:
    if strategy is None or strategy.num_replicas_in_sync == 1:
      continue
    for member in [*nesting.descendants(optimizer), optimizer]:
      if any(_strategy(v) is not strategy for v in member.variables):
        raise ValueError(
          f"Optimizer '{member.name}' was made outside the `strategy.scope()` "
          "of the variables that it is to train: make it, and the optimizer "
          f"inside it, within the scope of {type(strategy).__name__}."
        )


def _strategy(variable):
  """Returns the strategy whose replicas a variable has copies on, or None."""
  return getattr(replicas.native(variable), "distribute_strategy", None)


def beside(variable: Any) -> contextlib.AbstractContextManager:
  """Returns a scope in which variables are created where `variable` is.

  Created there, a variable has the replicas of a `tf.distribute` strategy also
  outside the strategy's own scope.
  """
  strategy = _strategy(variable) or tf.distribute.get_strategy()
  return strategy.extended.colocate_vars_with(replicas.native(variable))


def on_host(variable: Any) -> contextlib.AbstractContextManager:
  """Returns a scope in which variables are created in the memory of the host.

  Args:
    variable: That which they belong to.

  Raises:
    ValueError: if `variable` is of a strategy, which places all that belongs to
      it.
  """
  strategy = _strategy(variable)
  if strategy is not None and strategy is not _NO_STRATEGY:
    raise ValueError(
      "`slow_device` must be None for the variables of a strategy. Received: "
      f"slow_device='host' with {type(strategy).__name__}"
    )
  return tf.device("/CPU:0")


def unshared(value: Any) -> Any:
  """Returns `value` in memory that no other variable changes in place."""
  return value


def is_variable(value: Any) -> bool:
  """Whether `value` is a variable, of Keras or of the backend."""
  return isinstance(value, (keras.Variable, tf.Variable))


def has_value(variable: Any) -> bool:
  """Whether a variable has a value at this moment.

  A variable that is created while a function is traced, such as those of a
  `Sequential` without `Input`, gets it when the tracing ends. TensorFlow then
  traces the function once more, and runs that second trace.
  """
  with tf.init_scope():
    if not tf.executing_eagerly():
      return True  # Sessions of TensorFlow 1 initialize what they run.
    return bool(tf.compat.v1.is_variable_initialized(replicas.native(variable)))


def refuse_to_run(message: str) -> None:
  """Makes the function that is being traced fail with `message` if it runs."""
  tf.debugging.Assert(False, [message])


class Marks:
  """A mark for each of some variables, which the host sets once and for all.

  A compiled step finds a mark that was set after it was traced.

  Args:
    variables: The variables that are trained.
  """

  def __init__(self, variables: list[Any]):
    self._count = len(variables)
    self._marked: set[int] = set()
    with beside(variables[0]) if variables else run_now():
      # Integers, since TPUs have no variables of booleans.
      self._values = tf.Variable(
        [0] * len(variables), trainable=False, dtype=tf.int32, name="marks"
      )

  def set(self, indices: Iterable[int]) -> None:
    """Marks the variables at `indices`."""
    before = len(self._marked)
    self._marked.update(indices)
    if len(self._marked) == before:
      return
    values = [int(i in self._marked) for i in range(self._count)]
    with tf.init_scope():
      for copy in replicas.copies(self._values):
        copy.assign(values)

  def any(self) -> bool:
    """Returns whether any variable is marked."""
    return bool(self._marked)

  def is_set(self, index: int) -> bool:
    """Returns whether the variable at `index` is marked now."""
    return index in self._marked

  def read(self, index: int) -> Any:
    """Returns the same for a step that is traced: True, or a scalar tensor."""
    return self.is_set(index) or self._values[index] > 0


def snapshot(variable: Any) -> Callable[[], None]:
  """Returns a function that assigns the present value of a variable again.

  Each replica gets its own back: statistics of batch normalization differ from
  replica to replica.
  """
  copies = replicas.copies(variable)
  values = [copy.numpy() for copy in copies]

  def restore():
    for copy, value in zip(copies, values):
      copy.assign(value)

  return restore


def sum_over_replicas(value: Any) -> Any:
  """Returns the sum of a tensor over the replicas of the step under way."""
  context = tf.distribute.get_replica_context()
  if context is None or context.num_replicas_in_sync == 1:
    return value
  return context.all_reduce(tf.distribute.ReduceOp.SUM, value)


# Makes a function of the forward pass alone as fast as the backend can.
compile_forward = tf.function
