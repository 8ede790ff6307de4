"""What Lookahead needs of JAX itself; see `tensorflow` for what it is."""

import contextlib

import jax
import keras

from lookahead_tf import keras_internals
from lookahead_tf.backends import loops

run_now = contextlib.nullcontext
# On TensorFlow the data ends with an error inside a step: see `after` there.
after = contextlib.nullcontext
CAN_ASSIGN_STATISTICS = False
HAS_HOST_MEMORY = False
replicas = None


def run_untraced(function):
  """Calls `function`: variables can be created anywhere."""
  function()


def assign_if(condition, assignments, assign, variables, can_fuse, is_frequent):
  """Makes assignments if `condition` holds.

  In a function that is being traced their values are the result of a loop of
  zero or one iterations or, compiled for CPUs and if they can fuse, a selection
  between the new value and the old: docs/design.md says why.
  """
  del is_frequent
  if not isinstance(condition, jax.core.Tracer):
    if condition:
      for variable, value in assignments():
        assign(variable, value)
    return

  def after(values, assign_all):
    """Returns the values of all variables after assignments to them."""
    with keras_internals.InnerScope(list(zip(variables, values))) as scope:
      assign_all()
    return [scope.get_current_value(v) for v in variables]

  def loop(*values):
    def body(state):
      return False, after(
        state[1], lambda: loops.assign_all(assignments(), assign, condition)
      )

    state = (condition, list(values))
    return jax.lax.while_loop(lambda state: state[0], body, state)[1]

  def assign_selected():
    for variable, value in assignments():
      value = keras.ops.cast(value, variable.dtype)
      assign(variable, jax.numpy.where(condition, value, variable.value))

  def selection(*values):
    return after(values, assign_selected)

  values = [v.value for v in variables]
  if can_fuse:
    # What a step is compiled for need not be the devices at hand.
    values = jax.lax.platform_dependent(*values, cpu=selection, default=loop)
  else:
    values = loop(*values)
  for variable, value in zip(variables, values):
    variable.assign(value)


def either(condition, first, second):
  """Returns one of two arrays, as a part of the kernel in a traced step."""
  if isinstance(condition, jax.core.Tracer):
    return jax.numpy.where(condition, first(), second())
  return first() if condition else second()


def check_strategy(optimizer, variables):
  """Nothing: there are no strategies."""


def beside(variable):
  """Nothing: Keras places variables by their layout."""
  return contextlib.nullcontext()


def on_host(variable):
  """Is not called: HAS_HOST_MEMORY is False."""
  raise NotImplementedError


def unshared(value):
  """Returns a copy: Keras' trainer donates the buffers of its variables."""
  return value if isinstance(value, jax.core.Tracer) else jax.numpy.copy(value)


def is_variable(value):
  """Whether `value` is a variable of Keras: there are no others."""
  return isinstance(value, keras.Variable)


def has_value(variable):
  """Returns False within `fit`, where Keras keeps the values elsewhere."""
  return keras_internals.has_value(variable)


def refuse_to_run(message):
  """Raises an error: no function is traced to be thrown away."""
  raise ValueError(message)


class Marks:
  """No marks: gradients of JAX are zeros where there is none."""

  def __init__(self, variables):
    del variables

  def set(self, indices):
    """Does nothing."""

  def any(self):
    """Returns False: nothing is known."""
    return False

  def is_set(self, index):
    """Returns False: nothing is known."""
    return False

  def read(self, index):
    """Returns True: the variable may have had a gradient."""
    return True


def snapshot(variable):
  """Returns a function that assigns the present value of a variable again."""
  value = keras.ops.convert_to_numpy(variable)
  return lambda: variable.assign(value)


def sum_over_replicas(value):
  """Returns `value`: a traced step sees the global batch."""
  return value


def compile_forward(function):
  """Returns `function`: its assignments to variables cannot be traced."""
  return function
