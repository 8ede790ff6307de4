"""Which optimizers this version of Keras has: some came after the oldest."""

import unittest

import keras

_AROUND_OTHERS = ("Optimizer", "LossScaleOptimizer", "MultiOptimizer")
NAMES = sorted(
  name
  for name, value in vars(keras.optimizers).items()
  if isinstance(value, type)
  and issubclass(value, keras.optimizers.Optimizer)
  and name not in _AROUND_OTHERS
)


def require(test: unittest.TestCase, name: str) -> None:
  """Skips `test` where this version of Keras has no optimizer `name`."""
  if not hasattr(keras.optimizers, name):
    test.skipTest(f"this Keras has no {name}")
