"""Compiles for TPUs where the extra is installed, and skips that elsewhere."""

import contextlib
import importlib.util
import io
import types
import unittest
from unittest import mock

import tensorflow as tf

from tests.trainers.tpu import small_step
from trainers.errors import UserError
from trainers.tpu import compile_only
from trainers.tpu.chips import Cost

_STEP = Cost(3, 2, 6, 246e9, 0.9e9)
_INNER = Cost(2, 2, 5, 245e9, 0.8e9)

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
      compile_only.report(small_step.maker(), None, ["v3-8"], 128)

  def test_an_unknown_slice(self):
    with self.assertRaisesRegex(UserError, "Received: v9-8"):
      compile_only.report(small_step.maker(), None, ["v9-8"], 128)


class CompileError(Exception):
  pass


class ReportTest(tf.test.TestCase):
  """With a compiler that is made up."""

  def setUp(self):
    super().setUp()
    self.output = io.StringIO()
    self.seen = []  # What was printed before each program was compiled.
    self.compiler = types.SimpleNamespace(
      CompileError=CompileError,
      find_devices=lambda chips: [0] * (4 if "2x2x1" in chips.topology else 8),
      compile_program=self._compile,
    )
    for name, value in (
      ("_load_compiler", lambda: self.compiler),
      ("_lower", lambda make, devices: make(devices)),
    ):
      patch = mock.patch.object(compile_only, name, value)
      patch.start()
      self.addCleanup(patch.stop)

  def _compile(self, program, devices):
    del devices
    self.seen.append(self.output.getvalue())
    if isinstance(program, Exception):
      raise program
    return program

  def _report(self, make, make_inner, slices):
    with contextlib.redirect_stdout(self.output):
      return compile_only.report(make, make_inner, slices, 128)

  def _verdicts(self):
    rows = [line.split("|") for line in self.output.getvalue().splitlines()]
    return {
      row[1].strip(): row[4].strip()
      for row in rows
      if len(row) > 3 and row[3].strip() == "training"
    }

  def test_each_answer_is_printed_before_the_next_program_is_compiled(self):
    status = self._report(
      lambda _: _STEP, lambda _: _INNER, ["v4-8", "v5e-8", "v6e-8"]
    )
    self.assertEqual(status, 0)
    self.assertEqual(
      [text.count("compiles") for text in self.seen], [0, 1, 1, 2, 2, 3]
    )
    added = [text.count("Lookahead adds") for text in self.seen]
    self.assertEqual(added, [0, 0, 1, 1, 2, 2])
    self.assertIn("Memory in MiB", self.output.getvalue())

  def test_failures_of_a_slice_leave_the_others(self):
    find_devices = self.compiler.find_devices

    def find(chips):
      if "v6e" in chips.topology:
        raise CompileError("no such slice")
      return find_devices(chips)

    def make(devices):
      if devices == 8:
        raise UserError("128 is no multiple of 8.")
      return _STEP

    self.compiler.find_devices = find
    status = self._report(make, None, ["v3-8", "v5e-8", "v6e-8"])
    self.assertEqual(status, 1)
    self.assertEqual(
      self._verdicts(),
      {
        "v3-8": "compiles",
        "v5e-8": "cannot be made",
        "v6e-8": "does not compile",
      },
    )
    *_, first, second = self.output.getvalue().splitlines()
    self.assertEqual(first, "v5e-8: 128 is no multiple of 8.")
    self.assertEqual(second, "v6e-8: no such slice")

  def test_a_mistake_for_every_slice_is_one_of_the_config(self):
    def make(devices):
      raise UserError(f"{devices} is wrong.")

    with self.assertRaisesRegex(UserError, "^8 is wrong.$"):
      self._report(make, None, ["v5e-8", "v6e-8"])
    self.assertEqual(self.output.getvalue(), "")

  def test_a_step_that_does_not_compile_is_not_compiled_without_lookahead(self):
    status = self._report(
      lambda _: CompileError("INTERNAL: no"), lambda _: _INNER, ["v6e-8"]
    )
    self.assertEqual(status, 1)
    self.assertLen(self.seen, 1)
    self.assertIn("\nv6e-8: INTERNAL: no\n", self.output.getvalue())

  def test_an_unexpected_error_loses_no_answer(self):
    self.compiler.compile_program = mock.Mock(
      side_effect=[CompileError("INTERNAL: no"), _STEP, ZeroDivisionError()]
    )
    with self.assertRaises(ZeroDivisionError):
      self._report(lambda _: None, None, ["v3-8", "v5e-8", "v6e-8"])
    self.assertEqual(
      self._verdicts(), {"v3-8": "does not compile", "v5e-8": "compiles"}
    )
    self.assertIn("\nv3-8: INTERNAL: no\n", self.output.getvalue())


@_needs_compiler
class CompilerTest(tf.test.TestCase):
  def test_compiles_and_lookahead_adds_one_copy_of_the_parameters(self):
    slices = ["v3-8", "v5e-8"]
    results = list(
      compile_only.compile_step(
        small_step.maker(), small_step.maker(lookahead=False), slices
      )
    )
    self.assertLen(results, 4)
    for alone, result in zip(results[::2], results[1::2]):
      self.assertIsNone(alone.inner_step)
      self.assertEqual(alone.step, result.step)
      self.assertEqual(result.verdict(), "compiles", result)
      self.assertEqual(result.devices, 8)
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
      status = compile_only.report(
        small_step.maker(batch=2**24), None, ["v3-8"], 2**27
      )
    self.assertEqual(status, 1)
    self.assertIn("does not fit", output.getvalue())

  def test_an_operation_that_no_tpu_has(self):
    def make(strategy):
      del strategy
      return tf.strings.as_string, tf.TensorSpec((8,), tf.float32)

    (result,) = compile_only.compile_step(make, None, ["v5e-8"])
    self.assertEqual(result.verdict(), "does not compile")
    self.assertIn("AsString", result.step.message)

  def test_programs_whose_text_cannot_be_read_back(self):
    """Those with a large gather of float32 on v5p and v6e."""
    rows, width, tokens = 32_000, 128, 2048

    def make(strategy):
      with strategy.scope():
        table = tf.Variable(tf.zeros((rows, width)))

      def step(indices):
        with tf.GradientTape() as tape:
          loss = tf.reduce_sum(tf.gather(table, indices) ** 2)
        gradient = tf.convert_to_tensor(tape.gradient(loss, table))
        context = tf.distribute.get_replica_context()
        total = context.all_reduce(tf.distribute.ReduceOp.SUM, gradient)
        table.assign_sub(0.1 * total)
        return loss

      return step, tf.TensorSpec((tokens,), tf.int32)

    results = list(compile_only.compile_step(make, None, ["v5p-8", "v6e-8"]))
    self.assertLen(results, 2)
    for result in results:
      self.assertEqual(result.verdict(), "compiles", result)
      self.assertBetween(
        result.step.arguments,
        4 * (rows * width + tokens),
        1.01 * 4 * rows * width,
      )
      # Each element of the rows that are gathered is squared and summed.
      self.assertGreater(result.step.flop, 2 * tokens * width)
      self.assertGreater(result.step.accessed, 2 * 4 * tokens * width)


if __name__ == "__main__":
  tf.test.main()
