"""Whether XLA compiles here: TensorFlow's builds for TPUs lack it for CPUs."""

import functools
import unittest

import tensorflow as tf


def require(test: unittest.TestCase) -> None:
  """Skips a test that compiles by XLA where that cannot be done."""
  error = _error()
  if error is not None:
    test.skipTest(f"XLA does not compile for the CPU here: {error}")


@functools.cache
def _error():
  """Returns what goes wrong with the smallest compiled function, or None."""
  try:
    tf.function(lambda x: x + 1.0, jit_compile=True)(tf.constant(1.0))
  except tf.errors.OpError as error:
    return error.message.splitlines()[0]
  return None
