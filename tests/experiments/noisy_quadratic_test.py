import os
from unittest import mock

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from experiments import noisy_quadratic
from tests.experiments import programs
from tests.trainers import command_line


class NoisyQuadraticTest(tf.test.TestCase, parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.variances = noisy_quadratic.measure_variances(
      [0.5, 1.2], [5], [0.2, 0.5], copies=20_000, seed=1
    )
    cls.losses = noisy_quadratic.measure_losses(
      [0.1, 0.8], [0.5], copies=1000, seed=1
    )

  def test_variances_of_the_optimizers_themselves(self):
    self.assertEqual(
      [(t.learning_rate, t.period, t.step_size) for t in self.variances],
      [
        (0.5, None, 1.0),
        (1.2, None, 1.0),
        (0.5, 5, 0.2),
        (0.5, 5, 0.5),
        (1.2, 5, 0.2),
        (1.2, 5, 0.5),
      ],
    )
    # V = .3333 for SGD and .1134 for Lookahead: the table of the paper's facts.
    by_name = {(t.learning_rate, t.step_size): t for t in self.variances}
    self.assertAllClose(by_name[0.5, 1.0].measured, 0.3333, rtol=0.04)
    self.assertAllClose(by_name[0.5, 0.5].measured, 0.1134, rtol=0.04)
    for trial in self.variances:
      self.assertLess(abs(trial.deviation), 0.04)  # Four standard errors.

  def test_losses_after_the_steps(self):
    self.assertLen(self.losses, 4)
    for trial in self.losses:
      self.assertLess(abs(trial.deviation), 0.1)
    sgd, _, lookahead, _ = (trial.measured for trial in self.losses)
    self.assertLess(lookahead, sgd)

  def test_the_same_noise_again(self):
    one, again, other = (
      noisy_quadratic.measure_losses([0.8], [], copies=2, seed=seed)
      for seed in (1, 1, 2**31 - 1)  # The greatest there is.
    )
    self.assertEqual(one, again)
    self.assertNotEqual(one, other)

  def test_what_is_written(self):
    workdir = os.path.join(self.get_temp_dir(), "run")
    with (
      mock.patch.object(
        noisy_quadratic, "measure_variances", return_value=self.variances
      ) as measure,
      mock.patch.object(
        noisy_quadratic, "measure_losses", return_value=self.losses
      ),
      mock.patch.object(noisy_quadratic, "_PERIODS", (5,)),
      mock.patch.object(noisy_quadratic, "_STEP_SIZES", (0.2, 0.5)),
    ):
      programs.run(
        noisy_quadratic.main,
        [f"--workdir={workdir}", "--copies=20000", "--seed=1"],
        noisy_quadratic.define_flags,
      )
    self.assertEqual(measure.call_args.args[-2:], (20_000, 1))
    with open(os.path.join(workdir, "results.md")) as file:
      text = file.read()
    for trial in (*self.variances, *self.losses):
      self.assertIn(f"{100 * trial.deviation:+.2f} %", text)
    greatest = max(abs(trial.deviation) for trial in self.variances)
    self.assertIn(f"The greatest deviation is {100 * greatest:.2f} %", text)
    self.assertIn("1.00 % of it", text)  # sqrt(2 / 20,000)
    for name in ("variance", "loss"):
      path = os.path.join(workdir, f"noisy_quadratic_{name}.png")
      self.assertGreater(np.std(tf.io.decode_png(tf.io.read_file(path))), 0)

  @parameterized.parameters("1", "1e6", "-3")
  def test_too_few_copies(self, copies):
    status, text = command_line.last_words(
      lambda: programs.run(
        noisy_quadratic.main,
        [f"--workdir={self.get_temp_dir()}/none", f"--copies={copies}"],
        noisy_quadratic.define_flags,
      )
    )
    self.assertEqual(status, 1)
    self.assertIn("--copies", text)
    self.assertIn(repr(copies), text)


if __name__ == "__main__":
  tf.test.main()
