import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from tests import xla
from trainers.translation.layers import Dropout


class DropoutTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.parameters(
    {},
    {"uses_xla": True},
    {"jit_compile": True},
  )
  def test_drops_and_scales(self, **arguments):
    if arguments:
      xla.require(self)
    uses_xla = "uses_xla" in arguments
    keras.utils.set_random_seed(1)
    layer = Dropout(0.1, **arguments)
    x = tf.random.stateless_normal((100, 1000), (0, 1))
    layer(x)

    @tf.function(jit_compile=uses_xla)
    def drop():
      return layer(x, training=True)

    once, again = drop().numpy(), drop().numpy()
    kept = once != 0
    # The deviation of the mean of 100,000 such is .001.
    self.assertAllClose(kept.mean(), 0.9, atol=0.004)
    self.assertAllClose(once[kept], x[kept] / 0.9, rtol=1e-6)
    # No pattern: in rows, in columns, from one call to the next.
    self.assertAllClose(kept.mean(0), np.full(1000, 0.9), atol=0.15)
    self.assertAllClose(kept.mean(1), np.full(100, 0.9), atol=0.045)
    both = np.mean(kept & (again != 0))
    self.assertAllClose(both, 0.81, atol=0.006)
    self.assertAllEqual(layer(x), x)

  @parameterized.parameters(False, True)
  def test_shares_decisions(self, jit_compile):
    if jit_compile:
      xla.require(self)
    layer = Dropout(0.5, (None, 1, None), jit_compile=jit_compile)
    dropped = layer(tf.ones((3, 4, 50)), training=True).numpy()
    self.assertAllEqual(dropped, np.tile(dropped[:, :1], (1, 4, 1)))
    self.assertNotAllEqual(dropped[0], dropped[1])


if __name__ == "__main__":
  tf.test.main()
