import json
import os
from unittest import mock

import keras
import tensorflow as tf
from absl.testing import parameterized
from tensorflow.python.eager import context

from tests import replicas, xla
from trainers import devices
from trainers.errors import UserError


def _one_device():
  return tf.distribute.OneDeviceStrategy("CPU:0")


class StrategyTest(tf.test.TestCase, parameterized.TestCase):
  def test_auto_is_one_device_without_gpus(self):
    replicas.mirrored()  # Starts TensorFlow's devices.
    strategy = devices.make_strategy("auto")
    self.assertIsInstance(strategy, tf.distribute.OneDeviceStrategy)

  def test_mirrored(self):
    strategy = devices.make_strategy("mirrored", logical_cpus=2)
    self.assertIsInstance(strategy, tf.distribute.MirroredStrategy)
    self.assertEqual(strategy.num_replicas_in_sync, 2)

  def test_mirrored_needs_two_devices(self):
    one = [tf.config.LogicalDevice("/device:CPU:0", "CPU")]
    with (
      mock.patch.object(
        tf.config,
        "list_logical_devices",
        lambda kind: one if kind == "CPU" else [],
      ),
      self.assertRaisesRegex(UserError, "mirrored.*CPU:0.*--logical_cpus=2"),
    ):
      devices.make_strategy("mirrored")

  def test_mistakes(self):
    replicas.mirrored()
    with self.assertRaisesRegex(UserError, "not 'tpuu'"):
      devices.make_strategy("tpuu")
    with self.assertRaisesRegex(UserError, "logical_cpus=3 comes too late"):
      devices.make_strategy("mirrored", logical_cpus=3)

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
      devices.make_strategy("multi_worker")

  def test_processes_wait_for_a_heartbeat_behind_what_is_sent(self):
    one = json.dumps(
      {
        "cluster": {"worker": ["a:1"]},
        "task": {"type": "worker", "index": 0},
      }
    )
    eager = context.context()

    def strategy():  # As TensorFlow's own does.
      eager.configure_coordination_service(service_type="standalone")

    with (
      mock.patch.dict(os.environ, {"TF_CONFIG": one}),
      mock.patch.object(tf.distribute, "MultiWorkerMirroredStrategy", strategy),
      mock.patch.object(
        context.Context, "configure_coordination_service"
      ) as configure,
    ):
      devices.make_strategy("multi_worker")
      (call,) = configure.call_args_list
      self.assertEqual(call.kwargs["service_type"], "standalone")
      # 45 MB take 18 seconds at 20 Mbit/s.
      self.assertGreater(call.kwargs["heartbeat_timeout_in_ms"], 60_000)
      strategy()
      self.assertNotIn("heartbeat_timeout_in_ms", configure.call_args.kwargs)

  def test_tpu_with_another_strategy(self):
    with self.assertRaisesRegex(UserError, "--tpu=local goes with"):
      devices.make_strategy("one_device", tpu="local")

  def test_a_single_process_is_the_chief(self):
    for strategy in (replicas.mirrored(), devices.make_strategy()):
      self.assertTrue(devices.is_chief(strategy))
      self.assertTrue(devices.Runtime(strategy, "run").is_chief)


class TpuTest(tf.test.TestCase, parameterized.TestCase):
  def test_no_tpu_here(self):
    # What TensorFlow says differs between its builds; the advice is in each.
    with self.assertRaisesRegex(
      UserError, "requirements-tpu.txt|This machine has no TPU"
    ):
      devices.connect_to_tpu("local")

  def test_a_name_that_cannot_be_looked_up(self):
    with self.assertRaisesRegex(
      UserError, "--tpu=no-such-node cannot be (looked up|reached)"
    ):
      devices.connect_to_tpu("no-such-node", "us-central1-b", "no-such-project")

  @parameterized.parameters(
    (
      "local",
      "No OpKernel was registered to support Op 'ConfigureDistributedTPU'",
      "build without TPU kernels: install requirements-tpu.txt",
    ),
    (
      "local",
      "RET_CHECK failure (x.cc:1) *platform",
      "This machine has no TPU",
    ),
    ("local", "The TPU is already in use by pid 7", "Another process.* pid 7"),
    ("n", "please install cloud-tpu-client", "--tpu=grpc://IP:8470"),
    ("n", "404 Not found: n", "--tpu=n cannot be reached.*404 Not found"),
  )
  def test_each_error_is_a_sentence_with_advice(self, tpu, text, message):
    self.assertRegex(
      devices.explain_tpu_error(tpu, RuntimeError(text)), message
    )

  def test_paths_that_the_hosts_cannot_see(self):
    devices.check_paths("local", workdir="/tmp/run")
    devices.check_paths("node", workdir="gs://b/run", data_dir=None)
    with self.assertRaisesRegex(UserError, "--workdir=/tmp/run is on this"):
      devices.check_paths("node", workdir="/tmp/run")


class PrecisionTest(tf.test.TestCase):
  def tearDown(self):
    keras.config.set_dtype_policy("float32")
    super().tearDown()

  def test_each_sets_a_policy_with_float32_weights(self):
    for name in devices.PRECISIONS:
      devices.set_precision(name)
      self.assertEqual(devices.precision(), name)
      layer = keras.layers.Dense(1)
      layer.build((None, 2))
      self.assertEqual(layer.kernel.dtype, "float32")
      self.assertEqual(layer.compute_dtype, name)

  def test_mistake(self):
    with self.assertRaisesRegex(UserError, "not 'fp8'"):
      devices.set_precision("fp8")


class UsesXlaTest(tf.test.TestCase):
  def test_what_is_wanted(self):
    for strategy in (
      _one_device(),
      tf.distribute.get_strategy(),
    ):
      for wanted in (False, True):
        for on_cpu in (False, True):
          self.assertEqual(devices.uses_xla(wanted, strategy, on_cpu), wanted)

  def test_several_replicas_are_not_compiled(self):
    for wanted in (None, False):
      self.assertFalse(
        devices.uses_xla(wanted, replicas.mirrored(), on_cpu=True)
      )

  def test_on_a_cpu_if_it_is_faster(self):
    xla.require(self)
    self.assertFalse(devices.uses_xla(None, _one_device(), on_cpu=False))
    self.assertTrue(devices.uses_xla(None, _one_device(), on_cpu=True))

  def test_parts_of_a_graph_on_a_cpu_unless_the_config_decides(self):
    for wanted in (False, True):
      self.assertFalse(devices.uses_xla_within(wanted, _one_device()))
    xla.require(self)
    for strategy in (_one_device(), replicas.mirrored()):
      self.assertTrue(devices.uses_xla_within(None, strategy))


if __name__ == "__main__":
  tf.test.main()
