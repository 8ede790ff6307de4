import os
from unittest import mock

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from experiments import step_size
from lookahead_tf import AdaptiveStepSize
from tests.experiments import programs
from tests.trainers import command_line


class QuadraticTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.parameters((0.1, 0.0, 5), (1.0, 0.9, 5))
  def test_the_best_step_size(self, learning_rate, momentum, period):
    case = step_size.measure_case(learning_rate, momentum, period, seed=3)
    self.assertAllClose(case.measured, case.expected, rtol=1e-5)
    # By NumPy: alpha = .3, and no other alpha is better.
    rng = np.random.default_rng(3)
    minimum, phi = rng.normal(size=(2, 20))
    curvatures = np.geomspace(1.0, 0.01, 20)
    theta, velocity = phi, 0.0
    for _ in range(period):
      velocity = momentum * velocity - learning_rate * curvatures * (
        theta - minimum
      )
      theta = theta + velocity

    def loss(alpha):
      return curvatures @ (phi + alpha * (theta - phi) - minimum) ** 2

    self.assertAllClose(case.losses[3], loss(0.3) / loss(0.0), rtol=1e-5)
    self.assertAllClose(case.loss_at(1.4), loss(1.4) / loss(0.0), rtol=1e-4)
    for other in (case.expected - 0.01, case.expected + 0.01):
      self.assertLess(loss(case.expected), loss(other))


class DigitsTest(tf.test.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.digits = step_size.read_digits()
    rules = {
      "Adam": None,
      "alpha = 0.5": 0.5,
      "adaptive": AdaptiveStepSize(lower=0.3),
    }
    cls.runs = {
      name: [step_size.train(cls.digits, rule, seed=0, periods=20)]
      for name, rule in rules.items()
    }

  def test_digits(self):
    for (images, labels), size in zip(self.digits, (1437, 360)):
      self.assertEqual(images.shape, (size, 64))
      self.assertAllInRange(images, 0.0, 1.0)
      self.assertEqual(images.max(), 1.0)
      self.assertEqual(set(labels), set(range(10)))

  def test_networks_learn(self):
    for (run,) in self.runs.values():
      self.assertLen(run.losses, 5)
      self.assertLess(run.losses[-1], 0.5 * run.losses[0])
      self.assertGreater(run.accuracies[-1], 80.0)

  def test_step_sizes(self):
    (alone,), (fixed,), (adaptive,) = self.runs.values()
    self.assertEmpty(alone.step_sizes)
    self.assertEqual(fixed.step_sizes, [0.5] * 20)
    self.assertLen(adaptive.step_sizes, 20)
    self.assertAllInRange(adaptive.step_sizes, 0.3, 1.0)
    self.assertGreater(len(set(adaptive.step_sizes)), 1)

  def test_what_is_written(self):
    workdir = os.path.join(self.get_temp_dir(), "run")

    def train(digits, rule, seed, periods):
      del digits, periods
      name = {None: "Adam", 0.5: "alpha = 0.5"}.get(rule, "adaptive")
      seeds.append(seed)
      return self.runs[name][0]

    seeds = []
    rules = {"alpha = 0.5": 0.5, "adaptive": AdaptiveStepSize()}
    with (
      mock.patch.object(step_size, "train", train),
      mock.patch.object(step_size, "_RULES", rules),
      mock.patch.object(step_size, "_CASES", [(0.1, 0.0, 5)]),
    ):
      programs.run(
        step_size.main,
        [f"--workdir={workdir}", "--seeds=2", "--seed=4"],
        step_size.define_flags,
      )
    self.assertEqual(seeds, [4, 5] * 3)
    with open(os.path.join(workdir, "results.md")) as file:
      text = file.read()
    for (run,) in self.runs.values():
      self.assertIn(f"{run.losses[-1]:.4f}", text)
      self.assertIn(f"{run.accuracies[-1]:.2f}", text)
    for name in ("quadratic", "digits"):
      path = os.path.join(workdir, f"step_size_{name}.png")
      self.assertGreater(np.std(tf.io.decode_png(tf.io.read_file(path))), 0)

  def test_no_seeds(self):
    _, text = command_line.last_words(
      lambda: programs.run(
        step_size.main,
        [f"--workdir={self.get_temp_dir()}/none", "--seeds=0"],
        step_size.define_flags,
      )
    )
    self.assertIn("--seeds", text)
    self.assertIn("'0'", text)


if __name__ == "__main__":
  tf.test.main()
