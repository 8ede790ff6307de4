"""Compiles for TPUs where the extra is installed, and skips that elsewhere."""

import contextlib
import importlib.util
import io
import unittest
from unittest import mock

import keras
import tensorflow as tf

from lookahead_tf import Lookahead
from trainers import tpu_compile, tpu_program
from trainers.errors import UserError

# Multiples of a TPU's tiles of 8 x 128, so that little is padded.
_INPUTS, _UNITS, _CLASSES = 256, 512, 128
# Two kernels, a bias, and scale and offset of the normalization.
_PARAMETERS = _INPUTS * _UNITS + _UNITS * _CLASSES + _CLASSES + 2 * _UNITS
_TENSORS = 5

_needs_compiler = unittest.skipIf(
  any(importlib.util.find_spec(name) is None for name in ("jax", "libtpu")),
  "needs pip install -e '.[tpu-compile]'",
)


def _make_step(lookahead=True, batch=16):
  """Returns a function for `tpu_compile`: a step of three small layers."""

  def make(strategy):
    with strategy.scope():
      model = keras.Sequential(
        [
          keras.Input((_INPUTS,)),
          keras.layers.Dense(_UNITS, use_bias=False),
          keras.layers.BatchNormalization(synchronized=True),
          keras.layers.Dense(_CLASSES),
        ]
      )
      optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
      if lookahead:
        optimizer = Lookahead(optimizer, sync_period=5)
      optimizer.build(model.trainable_variables)
    replicas = strategy.num_replicas_in_sync

    @tf.function
    def step(examples):
      features, labels = examples
      with tf.GradientTape() as tape:
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
          labels, model(features, training=True)
        )
        loss = tf.reduce_sum(losses) / (batch * replicas)
      gradients = tape.gradient(loss, model.trainable_variables)
      optimizer.apply(gradients, model.trainable_variables)
      return {"loss": loss}

    specs = (
      tf.TensorSpec((batch, _INPUTS), tf.float32),
      tf.TensorSpec((batch,), tf.int32),
    )
    return step, specs

  return make


class ProgramTest(tf.test.TestCase):
  def test_gradients_and_statistics_meet_in_groups_of_all_replicas(self):
    strategy = tpu_program.CompiledReplicas(4)
    self.assertEqual(strategy.num_replicas_in_sync, 4)
    step, specs = _make_step()(strategy)
    text = tpu_program.stablehlo(step, specs, strategy)
    # Batch normalization sums values, squares and counts; of the first two
    # there are gradients, which are sums over the replicas as well.
    self.assertEqual(text.count("stablehlo.all_reduce"), _TENSORS + 3 + 2)
    self.assertIn("[[0, 1, 2, 3]]", text)
    self.assertNotIn("mhlo.copy", text)

  def test_mean_over_replicas(self):
    strategy = tpu_program.CompiledReplicas(4)

    def step(values):
      context = tf.distribute.get_replica_context()
      return context.all_reduce(tf.distribute.ReduceOp.MEAN, values)

    text = tpu_program.stablehlo(
      step, tf.TensorSpec((3,), tf.float32), strategy
    )
    self.assertIn("stablehlo.all_reduce", text)
    self.assertIn("4.0", text)

  def test_without_the_extra_it_says_how_to_get_it(self):
    with (
      mock.patch.object(importlib.util, "find_spec", return_value=None),
      self.assertRaisesRegex(UserError, "pip install .*tpu-compile"),
    ):
      tpu_compile.report(_make_step(), None, ["v3-8"], 128)

  def test_an_unknown_slice(self):
    with self.assertRaisesRegex(UserError, "Received: v9-8"):
      tpu_compile.report(_make_step(), None, ["v9-8"], 128)


@_needs_compiler
class CompilerTest(tf.test.TestCase):
  def test_compiles_and_lookahead_adds_one_copy_of_the_parameters(self):
    results = tpu_compile.compile_step(
      _make_step(), _make_step(lookahead=False), ["v3-8", "v5e-8"]
    )
    for result in results:
      self.assertEqual(result.verdict(), "compiles", result)
      self.assertEqual(result.devices, 8)
      self.assertGreater(result.step.all_reduces, 0)
      self.assertGreater(result.step.flop, 6 * 16 * _INPUTS * _UNITS)
      added = result.step.arguments - result.inner_step.arguments
      copy = 4 * _PARAMETERS
      self.assertGreaterEqual(added, copy)
      # Each tensor, and each counter, may be padded to a tile of 4 KiB.
      self.assertLess(added, copy + 4096 * (_TENSORS + 5))

  def test_a_step_too_large_does_not_fit(self):
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
      # Of features alone 16 GiB on each device.
      status = tpu_compile.report(
        _make_step(batch=2**24), None, ["v3-8"], 2**27
      )
    self.assertEqual(status, 1)
    self.assertIn("does not fit", output.getvalue())


if __name__ == "__main__":
  tf.test.main()
