"""Compiles for TPUs where the extra is installed, and skips that elsewhere."""

import contextlib
import importlib.util
import io
import unittest
from unittest import mock

import tensorflow as tf

from tests.trainers import small_step
from trainers import tpu_compile
from trainers.errors import UserError

_needs_compiler = unittest.skipIf(
  any(importlib.util.find_spec(name) is None for name in ("jax", "libtpu")),
  "needs pip install -e '.[tpu-compile]'",
)


class MistakesTest(tf.test.TestCase):
  def test_without_the_extra_it_says_how_to_get_it(self):
    with (
      mock.patch.object(importlib.util, "find_spec", return_value=None),
      self.assertRaisesRegex(UserError, "pip install .*tpu-compile"),
    ):
      tpu_compile.report(small_step.maker(), None, ["v3-8"], 128)

  def test_an_unknown_slice(self):
    with self.assertRaisesRegex(UserError, "Received: v9-8"):
      tpu_compile.report(small_step.maker(), None, ["v9-8"], 128)


@_needs_compiler
class CompilerTest(tf.test.TestCase):
  def test_compiles_and_lookahead_adds_one_copy_of_the_parameters(self):
    results = tpu_compile.compile_step(
      small_step.maker(), small_step.maker(lookahead=False), ["v3-8", "v5e-8"]
    )
    for result in results:
      self.assertEqual(result.verdict(), "compiles", result)
      self.assertEqual(result.devices, 8)
      self.assertGreater(result.step.all_reduces, 0)
      forward = 2 * 16 * small_step.INPUTS * small_step.UNITS
      self.assertGreater(result.step.flop, 2 * forward)
      added = result.step.arguments - result.inner_step.arguments
      copy = 4 * small_step.PARAMETERS
      self.assertGreaterEqual(added, copy)
      # Each tensor, and each counter, may be padded to a tile of 4 KiB.
      self.assertLess(added, copy + 4096 * (small_step.TENSORS + 5))

  def test_a_step_too_large_does_not_fit(self):
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
      # Of features alone 16 GiB on each device.
      status = tpu_compile.report(
        small_step.maker(batch=2**24), None, ["v3-8"], 2**27
      )
    self.assertEqual(status, 1)
    self.assertIn("does not fit", output.getvalue())

  def test_an_operation_that_no_tpu_has(self):
    def make(strategy):
      del strategy
      return tf.strings.as_string, tf.TensorSpec((8,), tf.float32)

    (result,) = tpu_compile.compile_step(make, None, ["v5e-8"])
    self.assertEqual(result.verdict(), "does not compile")
    self.assertIn("AsString", result.step)


if __name__ == "__main__":
  tf.test.main()
