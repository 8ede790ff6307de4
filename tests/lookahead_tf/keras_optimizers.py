"""Which optimizers this version of Keras has: some came after the oldest.

`CLASSES` has those of lookahead_tf too that are not around another.
"""

import unittest

import keras

import lookahead_tf

_AROUND_OTHERS = ("Optimizer", "LossScaleOptimizer", "MultiOptimizer")
NAMES = sorted(
  name
  for name, value in vars(keras.optimizers).items()
  if isinstance(value, type)
  and issubclass(value, keras.optimizers.Optimizer)
  and name not in _AROUND_OTHERS
)
CLASSES = {
  **{name: getattr(keras.optimizers, name) for name in NAMES},
  "RAdam": lookahead_tf.RAdam,
}


def require(test: unittest.TestCase, name: str) -> None:
  """Skips `test` where this version of Keras has no optimizer `name`."""
  if name not in CLASSES and not hasattr(keras.optimizers, name):
    test.skipTest(f"this Keras has no {name}")
