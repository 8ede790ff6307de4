import dataclasses
import math
import os
from unittest import mock

import tensorflow as tf
from absl.testing import parameterized

from experiments import local, outcomes, robustness
from experiments.score import ACCURACY, TRAINING_LOSS
from tests.trainers import command_line

_FORM = robustness.Form(
  config=f"{command_line.ROOT}/configs/digits.py",
  overrides=("num_epochs=2",),
  rates=(0.1, 0.3),
  momenta=(0.9, 0.95, 0.98),
  period_rates=(0.1, 0.3),
  periods=(5, 10),
  step_sizes=(0.5, 0.8),
  spread=10.0,
)


def _accuracy(config):
  """Returns a number that differs for each combination."""
  accuracy = {0.1: 0.0001, 0.3: 0.0002}[config.learning_rate.peak]
  accuracy += config.optimizer.arguments.momentum / 10
  if config.lookahead is not None:
    accuracy += config.lookahead.sync_period / 100
    accuracy += config.lookahead.slow_step_size / 1000
  return accuracy


def _outcome(trial, status=outcomes.FINISHED):
  accuracy = _accuracy(trial.config) + (0.01 if trial.seed else -0.01)
  line = {"epoch": 2, "eval/accuracy": accuracy, "train/loss": 2 - accuracy}
  return outcomes.Outcome(trial, "runs", status, "A reason.", [line])


class MapsTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.found = [_outcome(one) for one in robustness.make_trials(_FORM, 2)]
    self.maps = robustness.Maps(self.found, _FORM)

  def test_trains_each_combination_with_each_seed(self):
    # SGD and Lookahead at 2 rates and 3 momenta; 2 rates, 2 k and 2 alpha, of
    # which k = 5 and alpha = .5 at momentum .9 are among the former.
    self.assertLen(self.found, 2 * (2 * 2 * 3 + 2 * (2 * 2 - 1)))
    seeds = [one.trial.seed for one in self.found]
    self.assertEqual(seeds, sorted(seeds))
    for form in robustness.FORMS.values():
      form = dataclasses.replace(
        form, config=f"{command_line.ROOT}/{form.config}"
      )
      self.assertNotEmpty(robustness.make_trials(form, 1))

  def test_learning_rates_and_momenta(self):
    maps = self.maps.over_rates(ACCURACY)
    self.assertAllClose(
      maps["SGD"],
      [[9.01, 9.02], [9.51, 9.52], [9.81, 9.82]],
    )
    self.assertAllClose(
      maps["Lookahead (SGD)"],
      [[14.06, 14.07], [14.56, 14.57], [14.86, 14.87]],
    )
    losses = self.maps.over_rates(TRAINING_LOSS)
    self.assertAllClose(losses["SGD"][0], [2 - 0.0901, 2 - 0.0902])

  def test_k_and_alpha(self):
    maps = self.maps.over_periods(ACCURACY)
    # Rows are k; the columns are alpha = .5, .8, and SGD.
    low = [[14.06, 14.09, 9.01], [19.06, 19.09, 9.01]]
    high = [[14.07, 14.10, 9.02], [19.07, 19.10, 9.02]]
    self.assertAllClose(maps["learning rate 0.1"], low)
    self.assertAllClose(maps["learning rate 0.3"], high)
    self.assertAllClose(maps["best of these rates"], high)
    maps = self.maps.over_periods(TRAINING_LOSS)
    self.assertAllClose(maps["best of these rates"], maps["learning rate 0.3"])

  def test_runs_that_diverged(self):
    found = [
      _outcome(run.trial, outcomes.DIVERGED)
      if run.trial.values.get("lookahead.sync_period") == 5
      and (run.trial.seed, run.trial.config.learning_rate.peak) == (1, 0.3)
      else run
      for run in self.found
    ]
    for score in (ACCURACY, TRAINING_LOSS):
      maps = robustness.Maps(found, _FORM).over_periods(score)
      self.assertTrue(math.isnan(maps["learning rate 0.3"][0][0]))
      # The other rate is the best then.
      self.assertAllClose(
        maps["best of these rates"][0][:2], maps["learning rate 0.1"][0][:2]
      )


class RobustnessTest(
  command_line.Mistakes, tf.test.TestCase, parameterized.TestCase
):
  def _run(self, *arguments):
    self.workdir = os.path.join(self.get_temp_dir(), self.id().split()[0])
    with mock.patch.dict(robustness.FORMS, {"digits": _FORM}):
      command_line.run(
        robustness.main,
        [f"--workdir={self.workdir}", "--seeds=2", *arguments],
        robustness.define_flags,
      )

  def test_writes_tables_and_figures(self):
    with mock.patch.object(
      local, "run", lambda todo, *_, **__: [_outcome(one) for one in todo]
    ):
      self._run()
    self.assertContainsSubset(
      ["results.md", "robustness_rates.png", "robustness_periods.png"],
      os.listdir(self.workdir),
    )
    with open(os.path.join(self.workdir, "results.md")) as file:
      text = file.read()
    # Of .1306 and .1506.
    self.assertRegex(
      text, r"\| Lookahead \(SGD\) \| 0\.9 +\| 14\.06 ± 1\.41 % \(1\.859\)"
    )
    self.assertRegex(text, r"\| 0\.3 +\| 10 +\| 19\.07 ± 1\.41 % ")
    self.assertIn("SGD: 9.0 to 9.8 %", text)

  def test_runs_that_failed(self):
    with mock.patch.object(
      local,
      "run",
      lambda todo, *_, **__: [_outcome(one, outcomes.FAILED) for one in todo],
    ):
      status, text = command_line.last_words(self._run)
    self.assertEqual(status, 1)
    self.assertIn("36 of 36 trials failed", text)
    self.assertIn("A reason.", text)
    self.assertNotIn("results.md", os.listdir(self.workdir))

  @parameterized.parameters(
    (["--data=cifar"], "--data"),
    (["--data=image_folder"], "--data_dir=FOLDER"),
    (["--data_dir=photos"], "--data_dir=photos"),
    (["--seeds=0"], "--seeds"),
    (["--strategy=tpu"], "--strategy"),
  )
  def test_a_mistake_ends_with_one_sentence(self, arguments, message):
    self.assertMistake(lambda: self._run(*arguments), message)
    self.assertFalse(os.path.exists(self.workdir))


if __name__ == "__main__":
  tf.test.main()
