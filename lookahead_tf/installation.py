"""Errors that say what to install: the package requires `keras` alone."""

import importlib
import importlib.util
from typing import Any

_BACKENDS = ("tensorflow", "jax", "torch")


def missing_backend(error: ModuleNotFoundError) -> ImportError:
  """Returns the error for an `import keras` that failed.

  Args:
    error: What `import keras` raised.

  Returns:
    One sentence on Keras' backend if the backend is not installed; `error`
    itself if another module is missing.
  """
  missing = (error.name or "").partition(".")[0]
  if missing not in _BACKENDS:
    return error
  others = [name for name in _BACKENDS if name != missing]
  installed = [name for name in others if importlib.util.find_spec(name)]
  if installed:
    remedy = f"set KERAS_BACKEND={' or '.join(installed)}, which is installed."
  else:
    remedy = f"{' or '.join(others)} and set KERAS_BACKEND to its name."
  return ImportError(
    f"The backend of Keras, KERAS_BACKEND={missing}, is not installed: "
    f"pip install {missing}, or {remedy}"
  )


def import_tensorflow(user: str) -> Any:
  """Returns the module `tensorflow`, for what needs it with every backend.

  Args:
    user: The name of what needs TensorFlow, for the error.

  Raises:
    ImportError: if TensorFlow is not installed.
  """
  try:
    return importlib.import_module("tensorflow")
  except ModuleNotFoundError as error:
    if error.name != "tensorflow":
      raise
    raise ImportError(
      f"{user} needs TensorFlow, whatever Keras' backend is: "
      "pip install tensorflow"
    ) from None
