import dataclasses
import json
import os
import tempfile
from unittest import mock

import tensorflow as tf

from experiments import outcomes, trials
from tests.trainers import command_line
from trainers import metrics
from trainers.errors import Diverged, Interrupted, UserError


def make_trial(**values):
  """A trial of the digits."""
  axes = {field: [str(value)] for field, value in values.items()}
  (trial,) = trials.make(
    "image_classification", [f"{command_line.ROOT}/configs/digits.py"], axes
  )
  return trial


class OutcomesTest(tf.test.TestCase):
  def _train(self, train, on_evaluation=lambda scores: None):
    """Trains a trial with a trainer that does as `train` does."""
    kind = trials.KINDS["image_classification"]
    fake = dataclasses.replace(
      kind,
      trainer=dataclasses.replace(
        kind.trainer,
        load=lambda config, run: config,
        train=train,
      ),
    )
    trial = make_trial(num_epochs=2)
    sweep = tempfile.mkdtemp(dir=self.get_temp_dir())
    with mock.patch.dict(trials.KINDS, image_classification=fake):
      outcomes.train(
        trial, sweep, tf.distribute.get_strategy(), "DATA", on_evaluation
      )
    return outcomes.read(trial, sweep)

  def test_a_trial_that_finishes(self):
    seen = []

    def train(config, run):
      self.assertEqual(config.num_epochs, 2.0)
      self.assertEqual(run.data_dir, "DATA")
      writer = metrics.MetricsWriter(run.workdir)
      for epoch, accuracy in ((1.0, 0.25), (2.0, 0.75)):
        values = {"eval/accuracy": accuracy, "train/loss": 1 - accuracy}
        writer.write(int(epoch), epoch, values)
        run.on_evaluation(epoch, {"accuracy": accuracy})
      writer.close()
      print("to stdout", flush=True)
      os.write(2, b"past Python\n")

    outcome = self._train(train, seen.append)
    self.assertEqual((outcome.status, outcome.reason), ("finished", ""))
    self.assertEqual(outcome.final("eval/accuracy"), 0.75)
    self.assertEqual(outcome.final("train/loss"), 0.25)
    self.assertEqual(seen, [[0.25], [0.25, 0.75]])
    with open(outcome.log) as file:
      self.assertEqual(file.read(), "to stdout\npast Python\n")

  def test_how_a_trial_ends(self):
    for error, status, reason in (
      (Diverged("The loss is nan."), "diverged", "The loss is nan."),
      (UserError("No data."), "failed", "No data."),
      (ValueError("a\nb"), "failed", "ValueError: a"),
      (outcomes.StoppedEarly("Worse."), "stopped early", "Worse."),
    ):
      outcome = self._train(mock.Mock(side_effect=error))
      self.assertEqual((outcome.status, outcome.reason), (status, reason))
      self.assertIsNone(outcome.final("eval/accuracy"))
      with open(outcome.log) as file:
        log = file.read()
      self.assertEndsWith(log, f"{status}: {reason}\n")
      self.assertEqual("Traceback" in log, isinstance(error, ValueError))

  def test_an_interrupted_trial_has_no_end(self):
    outcome = "none yet"
    with self.assertRaises(Interrupted):
      outcome = self._train(mock.Mock(side_effect=Interrupted("SIGTERM")))
    self.assertEqual(outcome, "none yet")

  def test_the_end_of_another_attempt_is_removed(self):
    def train(config, run):
      self.assertNotIn("trial.json", os.listdir(run.workdir))
      raise KeyboardInterrupt

    trial, sweep = (
      make_trial(num_epochs=2),
      tempfile.mkdtemp(dir=self.get_temp_dir()),
    )
    outcomes.write(trial, sweep, outcomes.FAILED, "before")
    kind = trials.KINDS["image_classification"]
    trainer = dataclasses.replace(
      kind.trainer, load=lambda config, run: config, train=train
    )
    fake = dataclasses.replace(kind, trainer=trainer)
    with (
      mock.patch.dict(trials.KINDS, image_classification=fake),
      self.assertRaises(KeyboardInterrupt),
    ):
      outcomes.train(trial, sweep, tf.distribute.get_strategy())
    self.assertIsNone(outcomes.read(trial, sweep))

  def test_a_longer_trial_goes_on(self):
    sweep = tempfile.mkdtemp(dir=self.get_temp_dir())
    short = make_trial()
    outcomes.write(short, sweep, outcomes.FINISHED)
    self.assertEqual(outcomes.read(short, sweep).status, "finished")
    with short.config.unlocked():
      short.config.num_epochs += 1.0
    self.assertIsNone(outcomes.read(short, sweep))

  def test_the_directory_of_another_run(self):
    sweep = tempfile.mkdtemp(dir=self.get_temp_dir())
    trial = make_trial()
    os.makedirs(trial.workdir(sweep))
    config = trial.config.to_dict()
    config["learning_rate"]["peak"] = 7.0
    with open(os.path.join(trial.workdir(sweep), "config.json"), "w") as file:
      json.dump(config, file)
    with self.assertRaises(UserError) as context:
      outcomes.read(trial, sweep)
    self.assertIn("learning_rate.peak: 7.0 -> 0.1", str(context.exception))


if __name__ == "__main__":
  tf.test.main()
