"""Optimizers as text."""

from typing import Any

import keras

from lookahead_tf.wrapper import OptimizerWrapper


def as_call(optimizer: Any, given: dict[str, Any]) -> str:
  """Returns the call that makes an object, as text.

  Args:
    optimizer: The object.
    given: Its arguments by name.
  """
  shown = ", ".join(f"{name}={_shown(value)}" for name, value in given.items())
  return f"{type(optimizer).__name__}({shown})"


def _shown(value):
  """Returns an argument as text, an optimizer with its settings."""
  if isinstance(value, float):
    return f"{value:.7g}"  # 0.1, not 0.10000000149011612.
  if isinstance(value, dict) and "class_name" in value:  # A schedule.
    return f"{value['class_name']}({value['config']})"
  is_optimizer = isinstance(value, keras.optimizers.Optimizer)
  if not is_optimizer or isinstance(value, OptimizerWrapper):
    return repr(value)
  try:
    given = value.get_config()
  except Exception:  # Of an optimizer of one's own.
    return repr(value)
  unset = (None, False)
  return as_call(value, {k: v for k, v in given.items() if v not in unset})
