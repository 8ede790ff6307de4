"""What Lookahead needs of PyTorch itself; see `tensorflow` for what it is."""

import contextlib

import keras
import torch

run_now = contextlib.nullcontext
# On TensorFlow the data ends with an error inside a step: see `after` there.
after = contextlib.nullcontext
CAN_ASSIGN_STATISTICS = True
HAS_HOST_MEMORY = False
replicas = None


def run_untraced(function):
  """Calls `function`: variables can be created anywhere."""
  function()


def assign_if(condition, assignments, assign, variables, can_fuse, is_frequent):
  """Makes assignments if `condition` holds."""
  del variables, can_fuse, is_frequent
  if condition:
    with torch.no_grad():
      for variable, value in assignments():
        assign(variable, value)


def either(condition, first, second):
  """Returns one of two tensors."""
  return first() if condition else second()


def check_strategy(optimizer, variables):
  """Nothing: there are no strategies."""


def beside(variable):
  """Nothing: Keras has one default device."""
  return contextlib.nullcontext()


def on_host(variable):
  """Is not called: HAS_HOST_MEMORY is False."""
  raise NotImplementedError


def unshared(value):
  """Returns a copy: in a stateless scope a variable is the tensor itself."""
  return value.clone()


def is_variable(value):
  """Whether `value` is a variable of Keras: there are no others."""
  return isinstance(value, keras.Variable)


def has_value(variable):
  """Returns True."""
  return True


def refuse_to_run(message):
  """Raises an error: every function runs."""
  raise ValueError(message)


class Marks:
  """A mark for each of some variables."""

  def __init__(self, variables):
    del variables
    self._marked = set()

  def set(self, indices):
    """Marks the variables at `indices`."""
    self._marked.update(indices)

  def any(self):
    """Returns whether any variable is marked."""
    return bool(self._marked)

  def is_set(self, index):
    """Returns whether the variable at `index` is marked."""
    return index in self._marked

  read = is_set


def snapshot(variable):
  """Returns a function that assigns the present value of a variable again."""
  value = keras.ops.convert_to_numpy(variable).copy()
  return lambda: variable.assign(value)


def sum_over_replicas(value):
  """Returns `value`: Keras has one process on one device."""
  return value


def compile_forward(function):
  """Returns `function` without a record for gradients."""
  return torch.no_grad()(function)
