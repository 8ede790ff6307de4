import keras
import tensorflow as tf

from trainers import runtime
from trainers.errors import UserError


class PrecisionTest(tf.test.TestCase):
  def tearDown(self):
    keras.config.set_dtype_policy("float32")
    super().tearDown()

  def test_each_sets_a_policy_with_float32_weights(self):
    for name in runtime.PRECISIONS:
      runtime.set_precision(name)
      self.assertEqual(runtime.precision(), name)
      layer = keras.layers.Dense(1)
      layer.build((None, 2))
      self.assertEqual(layer.kernel.dtype, "float32")
      self.assertEqual(layer.compute_dtype, name)

  def test_mistake(self):
    with self.assertRaisesRegex(UserError, "not 'fp8'"):
      runtime.set_precision("fp8")


if __name__ == "__main__":
  tf.test.main()
