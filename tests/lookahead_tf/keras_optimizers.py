"""Optimizers that came to Keras after the oldest version supported."""

import unittest

import keras


def require(test: unittest.TestCase, name: str) -> None:
  """Skips `test` where this version of Keras has no optimizer `name`."""
  if not hasattr(keras.optimizers, name):
    test.skipTest(f"this Keras has no {name}")
