import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from lookahead_tf import synchronization
from tests import xla


def _random(seed, dtype="float32"):
  return np.random.default_rng(seed).normal(size=(7, 5)).astype(dtype)


class SlowStepTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.product(
    alpha=[0.0, 0.1, 0.4999, 0.5, 0.8, 1.0],
    dtype=["float16", "float32", "float64"],
  )
  def test_equals_the_formula_of_algorithm_1(self, alpha, dtype):
    phi, theta = _random(0, dtype), _random(1, dtype)
    wide = phi.astype("float64"), theta.astype("float64")
    expected = wide[0] + alpha * (wide[1] - wide[0])
    actual = synchronization.slow_step(phi, theta, alpha)
    self.assertEqual(actual.dtype, dtype)
    eps = np.finfo(dtype).eps
    # Rounded thrice at the most, each time by half a unit of values below 8.
    self.assertAllClose(actual, expected.astype(dtype), rtol=0, atol=8 * eps)

  def test_alpha_1_is_exact(self):
    phi, theta = 1e4 * _random(0), _random(1)
    actual = synchronization.slow_step(phi, theta, 1.0).numpy()
    self.assertAllEqual(actual, theta)

  @parameterized.parameters(1e-3, 1.0, 1e4, np.inf)
  def test_alpha_0_is_exact(self, scale):
    phi, theta = _random(0), np.float32(scale) * _random(1)
    actual = synchronization.slow_step(phi, theta, 0.0).numpy()
    self.assertAllEqual(actual, phi)

  @parameterized.parameters(0.0, 1.0)
  def test_both_ends_are_exact_in_a_compiled_function(self, alpha):
    xla.require(self)
    phi, theta = 1e4 * _random(0), _random(1)
    for jit_compile in (False, True):
      step = tf.function(synchronization.slow_step, jit_compile=jit_compile)
      actual = step(phi, theta, tf.constant(alpha))
      self.assertAllEqual(actual, theta if alpha else phi)

  def test_a_weight_that_did_not_move_stays(self):
    phi = _random(0)
    for alpha in np.linspace(0, 1, 21):
      actual = synchronization.slow_step(phi, phi.copy(), alpha).numpy()
      self.assertAllEqual(actual, phi)

  def test_alpha_may_be_a_tensor_in_a_compiled_function(self):
    xla.require(self)
    phi, theta = _random(0), _random(1)
    step = tf.function(synchronization.slow_step, jit_compile=True)
    for alpha in (0.3, 0.8):
      self.assertAllClose(
        step(phi, theta, tf.constant(alpha)),
        phi + np.float32(alpha) * (theta - phi),
        rtol=1e-6,
      )

  def test_half_precision_is_rounded_once(self):
    # In float16 itself, (alpha - 1) (theta - phi) would be rounded before the
    # sum, and alpha = .8 to .7998.
    phi, theta = _random(0, "float16"), _random(1, "float16")
    wide = phi.astype("float64"), theta.astype("float64")
    expected = (wide[0] + 0.8 * (wide[1] - wide[0])).astype("float16")
    actual = synchronization.slow_step(phi, theta, 0.8).numpy()
    self.assertAllEqual(actual, expected)


if __name__ == "__main__":
  tf.test.main()
