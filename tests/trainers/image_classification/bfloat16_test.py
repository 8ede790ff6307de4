"""A run in bfloat16 by the command line, and what is done with its result."""

import contextlib
import io
import os
from unittest import mock

import keras
import numpy as np
import tensorflow as tf

from tests.trainers import command_line
from trainers import hardware, metrics
from trainers.devices import Runtime
from trainers.image_classification import export, predict
from trainers.image_classification.__main__ import TRAINER

_FLAGS = (
  "--config=configs/digits.py",
  "--precision=bfloat16",
  "--config.model.width=4",
  "--config.steps_per_loop=11",
)
_CPU = hardware.Cpu(frozenset({"avx512_bf16"}), uses_onednn=True)


class Bfloat16Test(tf.test.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.workdir = os.path.join(cls.get_temp_dir(cls()), "run")
    cls.printed = cls._train(1)

  @classmethod
  def _train(cls, epochs, cpu=_CPU):
    """Trains up to so many epochs; returns what is printed."""
    with (
      contextlib.redirect_stdout(io.StringIO()) as printed,
      mock.patch.object(hardware, "find_cpu", return_value=cpu),
    ):
      command_line.run_trainer(
        TRAINER,
        *_FLAGS,
        f"--workdir={cls.workdir}",
        f"--config.num_epochs={epochs}",
      )
    return printed.getvalue()

  def test_a_line_says_what_is_used(self):
    (line,) = [x for x in self.printed.splitlines() if "precision" in x]
    self.assertIn("bfloat16 (the CPU's avx512_bf16; ", line)
    self.assertIn("float32", line)

  def test_the_result_classifies(self):
    pixels = np.random.default_rng(0).integers(0, 255, (8, 8, 1), np.uint8)
    photo = os.path.join(self.get_temp_dir(), "digit.png")
    tf.io.write_file(photo, tf.io.encode_png(pixels))
    run = Runtime(tf.distribute.OneDeviceStrategy("CPU:0"), self.workdir)
    before = keras.config.dtype_policy()
    self.addCleanup(keras.config.set_dtype_policy, before)
    (found,) = predict.predict(run, photo).probabilities
    self.assertAllClose(np.sum(found), 1.0)
    folder = os.path.join(self.get_temp_dir(), "serving", "1")
    export.export(run, folder)
    serve = tf.saved_model.load(folder).signatures["serving_default"]
    answer = serve(images=tf.constant([tf.io.read_file(photo).numpy()]))
    self.assertEqual(answer["probabilities"].dtype, tf.float32)
    self.assertAllClose(answer["probabilities"][0], found, atol=1e-3)

  def test_goes_on_with_a_warning_on_a_cpu_without_bfloat16(self):
    steps = len(metrics.read(self.workdir))
    other = hardware.Cpu(frozenset({"avx512f"}), uses_onednn=True)
    with self.assertWarnsRegex(UserWarning, "--precision=bfloat16 is slower"):
      printed = self._train(2, other)
    self.assertIn("goes on", printed)
    self.assertIn("bfloat16 (slow", printed)
    self.assertLen(metrics.read(self.workdir), 2 * steps)


if __name__ == "__main__":
  tf.test.main()
