import os
from unittest import mock

import numpy as np
import tensorflow as tf

from experiments import deterministic_quadratic, quadratics
from tests.experiments import programs
from tests.trainers import command_line

# By curvature, at the learning rate 1: the table of the paper's facts.
_TABLE = {
  1.0: 0.97593,
  0.1: 0.99638,
  0.01: 0.96279,
  1e-3: 0.9924,
  1e-4: 0.99473,
}


class DeterministicQuadraticTest(tf.test.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.directions = deterministic_quadratic.measure_directions(
      list(_TABLE), periods=500
    )
    cls.slowest = deterministic_quadratic.measure_condition_numbers(
      [100.0], periods=300
    )

  def test_the_table_of_the_paper(self):
    alone, within = self.directions[:5], self.directions[5:]
    for trial in alone:
      self.assertEqual(trial.optimizer, "SGD")
      self.assertAllClose(trial.measured, 0.994987, rtol=0, atol=1e-4)
    for trial, expected in zip(within, _TABLE.values()):
      self.assertEqual(trial.optimizer, "Lookahead (SGD)")
      self.assertAllClose(trial.measured, expected, rtol=0, atol=1e-4)
      self.assertAllClose(trial.expected, expected, rtol=0, atol=1e-5)
    self.assertAllClose(
      [trial.condition_number for trial in within], [1 / h for h in _TABLE]
    )

  def test_the_slowest_of_many_directions(self):
    alone, within = self.slowest
    # Under-damped in all directions: sqrt(.99).
    self.assertAllClose(alone.expected, 0.994987, rtol=0, atol=1e-6)
    for trial in (alone, within):
      self.assertAllClose(trial.measured, trial.expected, rtol=0, atol=2e-4)
    self.assertLess(within.measured, alone.measured)

  def test_no_other_learning_rate_is_better(self):
    directions = np.geomspace(0.01, 1.0, 400)
    best = deterministic_quadratic.best_learning_rates([100.0], 0.9)
    [(gamma, rate, worst)] = best["Lookahead (SGD)"]

    def slowest(gamma):
      period = quadratics.lookahead_period(gamma, directions, 0.9, 20, 0.5)
      return quadratics.rate(period, 20).max()

    self.assertAllClose(slowest(gamma), rate, rtol=0, atol=1e-4)
    for other in np.geomspace(0.01, 3.7, 50):
      self.assertGreater(slowest(other), rate - 1e-4)
    at_worst = quadratics.lookahead_period(gamma, worst, 0.9, 20, 0.5)
    self.assertAllClose(quadratics.rate(at_worst, 20), rate)

  def test_what_is_written(self):
    workdir = os.path.join(self.get_temp_dir(), "run")
    with (
      mock.patch.object(
        deterministic_quadratic,
        "measure_directions",
        return_value=self.directions,
      ),
      mock.patch.object(
        deterministic_quadratic,
        "measure_condition_numbers",
        return_value=self.slowest,
      ),
    ):
      programs.run(
        deterministic_quadratic.main,
        [f"--workdir={workdir}"],
        is_random=False,
      )
    with open(os.path.join(workdir, "results.md")) as file:
      text = file.read()
    for trial in (*self.directions, *self.slowest):
      self.assertIn(f"{trial.measured:.6f}", text)
      self.assertIn(f"{trial.expected:.6f}", text)
    path = os.path.join(workdir, "deterministic_quadratic_rates.png")
    self.assertGreater(np.std(tf.io.decode_png(tf.io.read_file(path))), 0)

  def test_nothing_is_random(self):
    _, text = command_line.last_words(
      lambda: programs.run(
        deterministic_quadratic.main, ["--seed=1"], is_random=False
      )
    )
    self.assertIn("there is no flag --seed", text)


if __name__ == "__main__":
  tf.test.main()
