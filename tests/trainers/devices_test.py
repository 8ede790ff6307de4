import os
from unittest import mock

import tensorflow as tf
from absl.testing import parameterized

from tests import replicas
from trainers import distribution
from trainers.errors import UserError


class DistributionTest(tf.test.TestCase, parameterized.TestCase):
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

  @parameterized.parameters(
    ("", "needs the environment variable TF_CONFIG"),
    ("{", "must be JSON such as"),
    ('{"cluster": {"worker": ["a:1"]}}', "KeyError: 'task'"),
    (
      '{"cluster": {"worker": ["a:1", "b:1"]}, '
      '"task": {"type": "worker", "index": 2}}',
      "must be 0 to 1. Received: 2",
    ),
  )
  def test_tf_config(self, text, message):
    with (
      mock.patch.dict(os.environ, {"TF_CONFIG": text}),
      self.assertRaisesRegex(UserError, message),
    ):
      distribution.make_strategy("multi_worker")

  def test_tpu_with_another_strategy(self):
    with self.assertRaisesRegex(UserError, "--tpu=local goes with"):
      distribution.make_strategy("one_device", tpu="local")

  def test_a_single_process_is_the_chief(self):
    for strategy in (replicas.mirrored(), distribution.make_strategy()):
      self.assertTrue(distribution.is_chief(strategy))


if __name__ == "__main__":
  tf.test.main()
