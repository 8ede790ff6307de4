"""What Lookahead needs of PyTorch itself; see `tensorflow` for what it is."""

import contextlib

import keras
import torch

run_now = contextlib.nullcontext


def update_if(condition, updates, assign, variables, can_fuse, is_frequent):
  """Makes `updates` if `condition` holds."""
  del variables, can_fuse, is_frequent
  if condition:
    with torch.no_grad():
      for variable, value in updates():
        assign(variable, value)


def join_strategy(optimizer, variables):
  """Nothing: there are no strategies."""


def count_alone(counter):
  """Nothing: there are no strategies."""


def beside(optimizer, variable):
  """Nothing: Keras has one default device."""
  return contextlib.nullcontext()


def unshared(value):
  """Returns a copy: in a stateless scope a variable is the tensor itself."""
  return value.clone()


def has_value(variable):
  """Returns True."""
  return True


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
