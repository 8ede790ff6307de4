import math
import os
from unittest import mock

import tensorflow as tf
from absl.testing import absltest

from experiments import repeated_runs
from experiments.small_network import Evaluation


def _runs(*accuracies):
  return [Evaluation(0.0, accuracy) for accuracy in accuracies]


class ComparisonTest(absltest.TestCase):
  def test_the_best_rate_is_by_the_mean_accuracy(self):
    by_rate = {
      0.1: _runs(90.0, 92.0),
      0.3: _runs(91.0, 93.0),
      1.0: _runs(math.nan, 100.0),
    }
    self.assertEqual(repeated_runs.best_rate(by_rate), 0.3)
    self.assertEqual(repeated_runs.mean_accuracy(by_rate[1.0]), 50.0)

  def test_differences_are_seed_by_seed_at_the_best_rates(self):
    by_rate = {0.1: _runs(92.0, 95.0), 0.3: _runs(91.0, 91.0)}
    others = {0.1: _runs(50.0, 50.0), 0.3: _runs(91.0, 92.0)}
    # 1 and 3: a deviation of the root of 2, and two seeds.
    self.assertEqual(repeated_runs.difference(by_rate, others), "+2.00 ± 1.00")
    self.assertEqual(
      repeated_runs.difference({0.1: _runs(90.0)}, {0.1: _runs(90.5)}), "-0.50"
    )
    self.assertEqual(
      repeated_runs.difference({0.1: _runs(math.nan)}, {0.1: _runs(90.5)}),
      "diverged",
    )


class RunsTest(tf.test.TestCase):
  def test_a_run_is_made_once(self):
    directory = os.path.join(self.get_temp_dir(), "runs")
    os.makedirs(directory)
    train = mock.Mock(return_value=Evaluation(0.5, 90.0))
    for _ in range(2):
      runs = repeated_runs.Runs(directory, Evaluation)
      self.assertEqual(runs.get("one", train), Evaluation(0.5, 90.0))
    train.assert_called_once_with()
    self.assertEqual(os.listdir(directory), ["runs.json"])


if __name__ == "__main__":
  absltest.main()
