"""Compiles Keras' `fit` on JAX, where it is the backend, and skips elsewhere.

KERAS_BACKEND=jax JAX_PLATFORMS=cpu python -m pytest FILE
"""

import contextlib
import importlib.util
import io
import unittest
from unittest import mock

import keras
import numpy as np
from absl.testing import absltest

from lookahead_tf import Lookahead
from tests.docs import pages
from trainers.errors import UserError
from trainers.tpu import chips

IS_JAX = keras.backend.backend() == "jax"
if IS_JAX:
  # Before JAX has looked for devices: some stand for those of a slice.
  import jax

  jax.config.update("jax_num_cpu_devices", 8)
  from trainers.tpu import keras_fit

# Multiples of a TPU's tiles of 8 x 128, so that little is padded.
INPUTS, UNITS, CLASSES, BATCH = 256, 512, 128, 64
PARAMETERS = INPUTS * UNITS + UNITS * CLASSES
BATCH_OF_FIT = (
  keras.KerasTensor((BATCH, INPUTS), "float32"),
  keras.KerasTensor((BATCH,), "int32"),
)


def _make(optimizer, **compile_arguments):
  """Returns a model without variables, as the step of `fit` has to build it."""
  model = keras.Sequential(
    [
      keras.layers.Dense(UNITS, use_bias=False, name="hidden"),
      keras.layers.Dense(CLASSES, use_bias=False, name="out"),
    ]
  )
  model.compile(
    optimizer,
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
    **compile_arguments,
  )
  return model


def _sgd():
  return keras.optimizers.SGD(0.1, momentum=0.9)


@unittest.skipUnless(IS_JAX, "needs KERAS_BACKEND=jax")
class PageTest(absltest.TestCase):
  def test_its_program_asks_for_a_report(self):
    (program,) = pages.programs(pages.ROOT / "docs" / "tpu_compile.md")
    self.addCleanup(keras.mixed_precision.set_global_policy, "float32")
    with mock.patch.object(keras_fit, "report", autospec=True) as report:
      exec(program, {})
    model, batch, slices = report.call_args.args
    self.assertIsInstance(model.optimizer, Lookahead)
    self.assertEqual(batch[0].shape, (1024, *model.input_shape[1:]))
    self.assertContainsSubset(slices, chips.SLICES)


@unittest.skipUnless(IS_JAX, "needs KERAS_BACKEND=jax")
class MistakesTest(absltest.TestCase):
  def test_a_model_that_is_not_compiled(self):
    model = keras.Sequential([keras.layers.Dense(1)])
    with self.assertRaisesRegex(UserError, "compile.*Received: <Sequential"):
      next(keras_fit.compile_fit(model, BATCH_OF_FIT, ["v6e-8"]))

  def test_a_model_whose_step_is_not_compiled(self):
    model = _make("sgd", run_eagerly=True)
    with self.assertRaisesRegex(UserError, "run_eagerly=True"):
      next(keras_fit.compile_fit(model, BATCH_OF_FIT, ["v6e-8"]))

  def test_an_unknown_slice(self):
    with self.assertRaisesRegex(UserError, "tpu7x-8. Received: v9-8"):
      next(keras_fit.compile_fit(_make("sgd"), BATCH_OF_FIT, ["v9-8"]))


@unittest.skipUnless(
  IS_JAX and importlib.util.find_spec("libtpu"),
  "needs KERAS_BACKEND=jax and pip install -e '.[tpu-compile]'",
)
class CompilerTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.addCleanup(
      keras.distribution.set_distribution, keras.distribution.distribution()
    )

  def test_compiles_and_lookahead_adds_one_copy_of_the_parameters(self):
    slices = ["v5e-8", "v6e-8", "tpu7x-8"]
    model = _make(Lookahead(_sgd()))
    results = list(
      keras_fit.compile_fit(model, BATCH_OF_FIT, slices, _make(_sgd()))
    )
    self.assertLen(results, 6)
    for result in results[1::2]:
      self.assertEqual(result.verdict(), "compiles", result)
      self.assertEqual(result.devices, 8)
      # A device has its part of the batch alone: forward, and the gradients.
      product = 2 * BATCH // 8 * PARAMETERS
      self.assertBetween(result.inner_step.flop, 2 * product, 4 * product)
      copy = 4 * PARAMETERS
      added = result.step.arguments - result.inner_step.arguments
      self.assertBetween(added, copy, copy + 8 * 4096)
    # The model is as before, and can train.
    x, y = np.zeros((BATCH, INPUTS)), np.zeros(BATCH, "int32")
    model.fit(x, y, batch_size=BATCH, verbose=0)
    self.assertEqual(int(model.optimizer.iterations), 1)

  def test_a_batch_that_cannot_be_shared_out_is_told(self):
    batch = (np.zeros((12, INPUTS)), np.zeros(12, "int64"))
    results = list(
      keras_fit.compile_fit(_make(_sgd()), batch, ["v5p-8", "v6e-8"])
    )
    self.assertEqual(
      [result.verdict() for result in results], ["compiles", "cannot be made"]
    )
    self.assertRegex(results[1].step.message, "12 is no multiple of 8")

  def test_layouts_of_keras_distribution(self):
    mesh = keras.distribution.DeviceMesh(
      (2, 4), ["batch", "model"], keras.distribution.list_devices()
    )
    layouts = keras.distribution.LayoutMap(mesh)
    layouts[".*hidden/kernel"] = (None, "model")
    layouts[".*out/kernel"] = ("model", None)
    keras.distribution.set_distribution(
      keras.distribution.ModelParallel(
        layout_map=layouts, batch_dim_name="batch"
      )
    )
    model = _make(Lookahead(_sgd()))
    few, many = keras_fit.compile_fit(model, BATCH_OF_FIT, ["v4-8", "tpu7x-8"])
    self.assertEqual(few.verdict(), "cannot be made")
    self.assertRegex(few.step.message, "4 devices.*8")
    self.assertEqual(many.verdict(), "compiles")
    # Weights, momentum and slow weights, a quarter each, and half the batch.
    wanted = 4 * (3 * PARAMETERS / 4 + BATCH / 2 * (INPUTS + 1))
    self.assertBetween(many.step.arguments, wanted, wanted + 20 * 4096)

  def test_a_layout_of_an_output_is_refused(self):
    mesh = keras.distribution.DeviceMesh(
      (8,), ["batch"], keras.distribution.list_devices()
    )
    layouts = keras.distribution.LayoutMap(mesh)
    layouts[".*hidden/output"] = ("batch", None)
    keras.distribution.set_distribution(
      keras.distribution.ModelParallel(
        layout_map=layouts, batch_dim_name="batch"
      )
    )
    output = io.StringIO()
    with (
      contextlib.redirect_stdout(output),
      self.assertRaisesRegex(UserError, "LayoutMap.*outputs"),
    ):
      keras_fit.report(_make(_sgd()), BATCH_OF_FIT, ["v6e-8"])


class OtherBackendsTest(absltest.TestCase):
  @unittest.skipIf(
    IS_JAX or importlib.util.find_spec("jax") is None,
    "needs JAX beside another backend of Keras",
  )
  def test_they_are_refused(self):
    from trainers.tpu import keras_fit

    with self.assertRaisesRegex(UserError, "KERAS_BACKEND=jax.*Received"):
      next(keras_fit.compile_fit(_make("sgd"), BATCH_OF_FIT, ["v6e-8"]))


if __name__ == "__main__":
  absltest.main()
