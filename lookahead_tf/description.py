"""Optimizers as text."""

import keras
import numpy as np

from lookahead_tf.backends import backend


def describe(optimizer: keras.optimizers.Optimizer) -> str:
  """Returns a call that makes an optimizer like this one, with all settings.

  Settings that are None, and those of an average that is not kept, are left
  out. An optimizer with one of one's own inside that has no `get_config`, or
  within a function that JAX traces, is shown as Python shows any object.
  """
  try:
    with backend.run_now():
      config = optimizer.get_config()
  except (NotImplementedError, TypeError):
    return object.__repr__(optimizer)
  return _call(type(optimizer).__name__, config)


def _call(name, config):
  if not config.get("use_ema", True):
    config = {k: v for k, v in config.items() if "ema" not in k}
  arguments = ", ".join(
    f"{key}={_shown(value)}"
    for key, value in config.items()
    if value is not None
  )
  return f"{name}({arguments})"


def _shown(value):
  if isinstance(value, dict) and "class_name" in value:
    return _call(value["class_name"], value["config"])
  if isinstance(value, float):  # 0.001, not 0.0010000000474974513.
    return str(np.float32(value))
  return repr(value)
