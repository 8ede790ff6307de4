"""Checks of the arguments of Lookahead: one clear error for each mistake."""

import copy
import inspect
import numbers
import operator
import re
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from lookahead_tf import models, nesting
from lookahead_tf.backends import backend

# The greatest float32 below 1, for what comes from a schedule.
BELOW_1 = float(np.nextafter(np.float32(1), np.float32(0)))
INNER_STATES = ("maintain", "interpolate", "reset", "average")
SLOW_DTYPES = ("float32", "float64")

# Intervals: whether a number is in it (NaN never is), and its name.
_CLOSED = (lambda x: 0.0 <= x <= 1.0, "[0, 1]")
_BELOW_1 = (lambda x: 0.0 <= x < 1.0, "[0, 1)")


def inner_optimizer(value: Any) -> keras.optimizers.Optimizer:
  """Returns the Keras optimizer that `value` is, names or configures.

  Args:
    value: A Keras optimizer, its name, or its config as
      `keras.optimizers.serialize` gives it. A config is left unchanged.

  Raises:
    TypeError: if `value` is none of these.
    ValueError: if there is no such optimizer, or if it is a
      LossScaleOptimizer, whose place is around Lookahead.
  """
  value = _keras_optimizer("inner_optimizer", value)
  if isinstance(value, keras.optimizers.LossScaleOptimizer):
    raise ValueError(
      "`inner_optimizer` must not be a LossScaleOptimizer: steps that it skips "
      "would count as updates. Use the other order, LossScaleOptimizer("
      f"Lookahead(...)). Received: inner_optimizer={value!r}"
    )
  return value


def _keras_optimizer(name, value):
  """Returns the Keras optimizer that an argument is, names or configures."""
  if isinstance(value, (str, dict)):
    value = _optimizer_from_config(name, value)
  if models.is_of_keras_2(value):
    raise TypeError(
      f"`{name}` must be an optimizer of Keras 3, which "
      "`keras.optimizers` and, without TF_USE_LEGACY_KERAS, "
      "`tf.keras.optimizers` have. Received one of Keras 2 (tf_keras): "
      f"{name}={value!r}"
    )
  if inspect.isclass(value) and issubclass(value, keras.optimizers.Optimizer):
    raise TypeError(
      f"`{name}` must be an instance of an optimizer, not its class: "
      f"write {value.__name__}(). Received: {name}={value}"
    )
  if not isinstance(value, keras.optimizers.Optimizer):
    raise TypeError(
      f"`{name}` must be a Keras optimizer, its name or its config. "
      f"Received: {name}={value!r} of type {type(value).__name__}"
    )
  return value


def _optimizer_from_config(name, value):
  try:
    return keras.optimizers.get(copy.deepcopy(value))
  except (ValueError, TypeError, KeyError) as error:
    raise ValueError(
      f"`{name}` must be the name or the config of a Keras optimizer, "
      f"such as 'adam'. Received: {name}={value!r}"
    ) from error


def outer_optimizer(value: Any) -> keras.optimizers.Optimizer:
  """Returns the Keras optimizer that `value` is, names or configures.

  Args:
    value: A Keras optimizer that is not built, its name, or its config.

  Raises:
    TypeError: if `value` is none of these.
    ValueError: if there is no such optimizer, or if it cannot make one step a
      period of variables that are all its own.
  """
  value = _keras_optimizer("outer_optimizer", value)
  received = f"Received: outer_optimizer={value!r}"
  if any(True for _ in nesting.children(value)):
    raise ValueError(
      "`outer_optimizer` must be one optimizer, with none inside. " + received
    )
  if value.built:
    raise ValueError(
      "`outer_optimizer` was built for other variables: make a new one for "
      "the slow weights. " + received
    )
  for name in ("gradient_accumulation_steps", "use_ema"):
    if getattr(value, name):
      raise ValueError(
        f"`outer_optimizer` must be without {name}, which is for the inner "
        f"optimizer: a period is one outer step. {received}"
      )
  return value


def sync_period(value: Any) -> int:
  """Returns `value`, the number of inner updates in a period, as an int."""
  try:
    if isinstance(value, bool):
      raise TypeError
    period = operator.index(value)
  except TypeError:
    raise TypeError(
      "`sync_period` must be an integer, the number of inner updates in a "
      f"period. Received: sync_period={value!r} of type {type(value).__name__}"
    ) from None
  if not 1 <= period < 2**31:
    raise ValueError(
      "`sync_period` must be at least 1 and less than 2**31. "
      f"Received: sync_period={value!r}"
    )
  return period


def slow_step_size(value: Any) -> Any:
  """Returns `value`, the paper's alpha: a float in [0, 1] or a schedule.

  Args:
    value: A float or a LearningRateSchedule.

  Raises:
    TypeError: if `value` is neither.
    ValueError: if `value`, or the first value of the schedule, is not in
      [0, 1].
  """
  return _fraction_or_schedule(
    "slow_step_size",
    value,
    ", a LearningRateSchedule or lookahead_tf.AdaptiveStepSize()",
    _CLOSED,
  )


def slow_momentum(value: Any) -> Any:
  """Returns `value`, a float in [0, 1) or a LearningRateSchedule."""
  return fraction_or_schedule("slow_momentum", value)


def boolean(name: str, value: Any) -> bool:
  """Returns `value`, that of the argument `name`, True or False."""
  if not isinstance(value, bool):
    raise TypeError(
      f"`{name}` must be True or False. Received: {name}={value!r} of type "
      f"{type(value).__name__}"
    )
  return value


def local_steps(value: Any) -> bool:
  """Returns `value`, a boolean, False where the backend has no replicas."""
  if boolean("local_steps", value) and backend.replicas is None:
    raise ValueError(
      "`local_steps` must be False with KERAS_BACKEND="
      f"{keras.backend.backend()}: the replicas are those of a tf.distribute "
      f"strategy. Received: local_steps={value!r}"
    )
  return value


def fraction(name: str, value: Any, or_else: str = "") -> float:
  """Returns `value`, that of the argument `name`, as a float in [0, 1].

  Args:
    name: Of the argument.
    value: Of the argument.
    or_else: What else the argument may be, for the error of a wrong type.
  """
  return _fraction(name, value, or_else, _CLOSED)


def fraction_below_1(name: str, value: Any) -> float:
  """Returns `value`, that of the argument `name`, as a float in [0, 1)."""
  return _fraction(name, value, "", _BELOW_1)


def _fraction(name, value, or_else, interval):
  """Returns `value` as a float in an interval."""
  is_in, text = interval
  if isinstance(value, bool) or not isinstance(value, numbers.Real):
    raise TypeError(
      f"`{name}` must be a float in {text}{or_else}. Received: "
      f"{name}={value!r} of type {type(value).__name__}"
    )
  if not is_in(value):
    raise ValueError(f"`{name}` must be in {text}. Received: {name}={value!r}")
  return float(value)


def fraction_or_schedule(name: str, value: Any) -> Any:
  """Returns `value`, a float in [0, 1) or a LearningRateSchedule.

  Args:
    name: Of the argument.
    value: One of these, or what a schedule was serialized to.

  Raises:
    TypeError: if `value` is none of these.
    ValueError: if `value`, or the first value of the schedule, is not in
      [0, 1).
  """
  if isinstance(value, dict):
    value = keras.saving.deserialize_keras_object(value)
  return _fraction_or_schedule(
    name, value, " or a LearningRateSchedule", _BELOW_1
  )


def _fraction_or_schedule(name, value, or_else, interval):
  """Returns a float, or a schedule that starts, in an interval."""
  if not isinstance(value, keras.optimizers.schedules.LearningRateSchedule):
    return _fraction(name, value, or_else, interval)
  is_in, text = interval
  first = float(ops.convert_to_numpy(value(0)))
  if not is_in(first):
    raise ValueError(
      f"`{name}` must be in {text}. Received a schedule that starts at "
      f"{first}: {name}={value!r}"
    )
  return value


def inner_state(value: Any) -> str:
  """Returns `value`, one of INNER_STATES."""
  if not isinstance(value, str):
    raise TypeError(
      f"`inner_state` must be one of {INNER_STATES}. Received: "
      f"inner_state={value!r} of type {type(value).__name__}"
    )
  if value not in INNER_STATES:
    raise ValueError(
      f"`inner_state` must be one of {INNER_STATES}. "
      f"Received: inner_state={value!r}"
    )
  return value


def exclude(value: Any) -> tuple[Any, ...]:
  """Returns `value`, regular expressions and variables, as a tuple.

  A single pattern or variable becomes a tuple of one.
  """
  if value is None:
    return ()
  if isinstance(value, str) or backend.is_variable(value):
    value = (value,)
  if not isinstance(value, Iterable) or isinstance(value, Mapping):
    raise TypeError(
      "`exclude` must be None, or hold variables or regular expressions to "
      f"search in variable paths. Received: exclude={value!r} of type "
      f"{type(value).__name__}"
    )
  patterns = tuple(value)
  for pattern in patterns:
    if backend.is_variable(pattern):
      continue
    if not isinstance(pattern, str):
      raise TypeError(
        "`exclude` must hold variables and regular expressions, as strings "
        f"such as 'bias$'. Received: {pattern!r} of type "
        f"{type(pattern).__name__}"
      )
    try:
      re.compile(pattern)
    except re.error as error:
      raise ValueError(
        f"`exclude` holds {pattern!r}, which is not a regular expression: "
        f"{error}. Received: exclude={list(patterns)!r}"
      ) from None
  return patterns


def slow_dtype(value: Any) -> str | None:
  """Returns `value`, None or one of SLOW_DTYPES, as a string."""
  if value is None:
    return None
  try:
    name = keras.backend.standardize_dtype(value)
  except ValueError:
    name = None
  if name not in SLOW_DTYPES:
    raise ValueError(
      f"`slow_dtype` must be None, the dtype of each variable, or one of "
      f"{SLOW_DTYPES}. Received: slow_dtype={value!r}"
    )
  return name


def slow_device(value: Any) -> str | None:
  """Returns `value`, None or "host"."""
  if value is not None and not (isinstance(value, str) and value == "host"):
    raise ValueError(
      "`slow_device` must be None, the devices of the weights, or 'host'. "
      f"Received: slow_device={value!r}"
    )
  if value and not backend.HAS_HOST_MEMORY:
    raise ValueError(
      "`slow_device` must be None with KERAS_BACKEND="
      f"{keras.backend.backend()}; TensorFlow can hold the slow weights in the "
      f"memory of the host. Received: slow_device={value!r}"
    )
  return value


def update_freq(value: Any) -> str | int:
  """Returns `value`, "epoch" or a number of batches."""
  is_number = isinstance(value, int) and not isinstance(value, bool)
  if value != "epoch" and not (is_number and value >= 1):
    raise ValueError(
      "`update_freq` must be 'epoch' or a number of batches of at least 1. "
      f"Received: update_freq={value!r}"
    )
  return value


def name(value: Any) -> str | None:
  """Returns `value`, the name of the optimizer, a string or None."""
  if value is not None and (not isinstance(value, str) or not value):
    raise TypeError(
      "`name` must be a non-empty string, or None for one that Keras makes. "
      f"Received: name={value!r} of type {type(value).__name__}"
    )
  return value
