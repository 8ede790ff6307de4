import tensorflow as tf

from tests import replicas
from trainers import distribution
from trainers.errors import UserError


class DistributionTest(tf.test.TestCase):
  def test_auto_is_one_device_without_gpus(self):
    replicas.mirrored()  # Starts TensorFlow's devices.
    strategy = distribution.make_strategy("auto")
    self.assertIsInstance(strategy, tf.distribute.OneDeviceStrategy)

  def test_mirrored(self):
    strategy = distribution.make_strategy("mirrored", logical_cpus=2)
    self.assertIsInstance(strategy, tf.distribute.MirroredStrategy)
    self.assertEqual(strategy.num_replicas_in_sync, 2)

  def test_mistakes(self):
    replicas.mirrored()
    with self.assertRaisesRegex(UserError, "not 'tpuu'"):
      distribution.make_strategy("tpuu")
    with self.assertRaisesRegex(UserError, "logical_cpus=3 comes too late"):
      distribution.make_strategy("mirrored", logical_cpus=3)


if __name__ == "__main__":
  tf.test.main()
