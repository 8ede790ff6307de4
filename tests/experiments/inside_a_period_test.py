import os

import numpy as np
import tensorflow as tf

from experiments import inside_a_period, small_network
from tests.experiments import programs


class InsideAPeriodTest(tf.test.TestCase):
  def test_changes(self):
    curves = [
      inside_a_period.Curves(
        fast=np.array([[90.0, 89.0, 87.0], [91.0, 92.0, 90.0]]),
        slow=np.array([91.0, 92.5]),
      ),
      inside_a_period.Curves(
        fast=np.array([[80.0, 79.5, 79.0]]), slow=np.array([81.0])
      ),
    ]
    self.assertAllClose(
      inside_a_period.changes(curves),
      [[0, -1, -3, 1], [0, 1, -1, 1.5], [0, -0.5, -1, 1]],
    )

  def test_standard_errors(self):
    # Deviations of sqrt(2) and 0, of two values.
    table = np.array([[1.0, 4.0], [3.0, 4.0]])
    self.assertAllClose(inside_a_period.standard_errors(table), [1.0, 0.0])
    self.assertAllClose(inside_a_period.standard_errors(table[:1]), [0.0, 0.0])

  def test_evaluates_each_weight_of_each_period(self):
    workdir = os.path.join(self.get_temp_dir(), "run")
    programs.run(
      inside_a_period.main,
      [
        f"--workdir={workdir}",
        "--sync_period=2",
        "--periods_before=3",
        "--periods=2",
        "--seeds=1",
        "--seed=4",
      ],
      inside_a_period.define_flags,
    )
    with open(os.path.join(workdir, "results.md")) as file:
      text = file.read()
    # By hand: the mean of two periods.
    training = small_network.Training(
      small_network.make_optimizer(0.1, 0.9, sync_period=2), seed=4
    )
    training.steps(6)
    changes = []
    for _ in range(2):
      period = training.period()
      before, *others = [
        training.evaluate(w).accuracy for w in (*period.fast, period.slow)
      ]
      changes.append(np.array(others) - before)
    names = ["theta_1", "theta_2", "phi after"]
    for name, change in zip(names, np.mean(changes, axis=0)):
      self.assertRegex(text, rf"\| {name} +\| [-+]{abs(change):.2f} ± ")
    self.assertIn("updates 7 to 10", text)
    self.assertIn("2 periods", text)
    self.assertTrue(
      os.path.exists(os.path.join(workdir, "inside_a_period_accuracy.png"))
    )


if __name__ == "__main__":
  tf.test.main()
