"""Every inner optimizer, RAdam too, x every way to run a training step.

KERAS_BACKEND=jax python -m pytest tests/lookahead_tf/conformance_test.py
"""

import functools

import tensorflow as tf
from absl.testing import parameterized

from lookahead_tf import Lookahead
from tests.lookahead_tf import (
  algorithm1,
  keras_optimizers,
  small_model,
  ways_to_run,
)
from tests.lookahead_tf.test_case import TestCase

K, ALPHA = 3, 0.8  # Two periods, and a step of the third.
WAYS = [
  *("eager", "function", "function_xla", "stateless", "stateless_jit", "fit"),
  *("fit_xla", "fit_eager", "fit_4_steps", "train_on_batch"),
]


def _inner(name):
  return keras_optimizers.CLASSES[name](learning_rate=0.05)


@functools.cache
def _expected(name, bare):
  """Returns the (fast, slow) weights by Algorithm 1 around a `bare` optimizer.

  In eager mode, with gradients by NumPy.
  """
  variables = small_model.make().trainable_variables
  return algorithm1.lookahead(
    bare(_inner(name), variables),
    small_model.gradient,
    small_model.values(variables),
    ways_to_run.STEPS,
    K,
    ALPHA,
  )


class ConformanceTest(TestCase):
  @parameterized.product(inner=[*keras_optimizers.CLASSES], way=WAYS)
  def test_equals_algorithm_1(self, inner, way):
    ways_to_run.require(self, way)
    model, optimizer = small_model.make(), Lookahead(_inner(inner), K, ALPHA)
    if way != "fit":  # Which builds the optimizer when it traces the step.
      optimizer.build(model.trainable_variables)
    ways_to_run.WAYS[way](model, optimizer)
    # On PyTorch, Keras' ScheduleFreeAdamW takes the new momentum for the old
    # one, unless it is stateless.
    is_stateless = way.startswith("stateless")
    bare = algorithm1.BareStateless if is_stateless else algorithm1.Bare
    fast, slow = _expected(inner, bare)
    if way.startswith("fit"):
      fast = slow  # What Algorithm 1 returns.
    # Muon's Newton-Schulz iteration amplifies what XLA rounds otherwise.
    is_xla = "xla" in way or "jit" in way
    tolerance = 2e-3 if inner == "Muon" and is_xla else 5e-5
    self.assertNear(model.trainable_variables, fast, tolerance)
    self.assertNear(optimizer.slow_weights, slow, tolerance)
    self.assertEqual(int(optimizer.iterations), ways_to_run.STEPS)


if __name__ == "__main__":
  tf.test.main()
