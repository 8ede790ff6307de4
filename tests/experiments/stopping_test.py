import tempfile
import unittest
from unittest import mock

import tensorflow as tf

from experiments import outcomes, stopping, trials
from tests.experiments.outcomes_test import make_trial
from trainers.errors import UserError

try:
  import optuna
except ImportError:
  optuna = None


def _outcome(number, scores, column="eval/accuracy", status=outcomes.FINISHED):
  trial = trials.Trial("", str(number), None, {}, 0)
  lines = [{"epoch": i, column: score} for i, score in enumerate(scores)]
  return outcomes.Outcome(trial, "", status, "", lines)


class SplitTest(tf.test.TestCase):
  def test_which_trials_are_over(self):
    sweep = tempfile.mkdtemp(dir=self.get_temp_dir())
    statuses = ("finished", "diverged", "stopped early", "failed")
    todo = [make_trial(num_epochs=i + 1) for i in range(5)]
    for trial, status in zip(todo, statuses):
      outcomes.write(trial, sweep, status)
    for rule, over in (("none", [0, 1]), ("median", [0, 1, 2])):
      found, waiting = stopping.split(todo, sweep, rule)
      self.assertEqual([*found], [todo[i].name for i in over])
      self.assertEqual(waiting, [t for t in todo if t.name not in found])


class JudgeTest(tf.test.TestCase):
  def test_no_rule(self):
    judge = stopping.Judge(stopping.NONE, "translation", [])
    trial = trials.Trial("", "a", None, {}, 0)
    self.assertIsNone(judge.reason_to_stop(trial, [0.0]))
    judge.finished(_outcome("a", [0.0]))

  def test_without_optuna(self):
    with (
      mock.patch.dict("sys.modules", optuna=None),
      self.assertRaises(UserError) as context,
    ):
      stopping.Judge(stopping.MEDIAN, "translation", [])
    self.assertIn("lookahead-tf[sweep]", str(context.exception))

  @unittest.skipIf(optuna is None, "Optuna is not installed")
  def test_the_median_of_those_that_are_over(self):
    # Of five trials, three of them before: the medians are .3 and .5.
    before = [_outcome(i, [i / 10, 0.5]) for i in (1, 2, 3)]
    judge = stopping.Judge(stopping.MEDIAN, "image_classification", before)
    for i in (4, 5):
      outcome = _outcome(i, [i / 10, 0.5])
      self.assertIsNone(judge.reason_to_stop(outcome.trial, [i / 10]))
      self.assertIsNone(judge.reason_to_stop(outcome.trial, [i / 10, 0.5]))
      judge.finished(outcome)
    trial = trials.Trial("", "good", None, {}, 0)
    self.assertIsNone(judge.reason_to_stop(trial, [0.31]))
    trial = trials.Trial("", "bad", None, {}, 0)
    reason = judge.reason_to_stop(trial, [0.29])
    self.assertIn("median", reason)
    self.assertIn("29.00 %", reason)
    # After a restart it is at its second evaluation.
    trial = trials.Trial("", "late", None, {}, 0)
    self.assertIsNone(judge.reason_to_stop(trial, [0.4, 0.51]))
    trial = trials.Trial("", "later", None, {}, 0)
    self.assertIn("evaluation 2", judge.reason_to_stop(trial, [0.4, 0.49]))

  @unittest.skipIf(optuna is None, "Optuna is not installed")
  def test_a_greater_perplexity_is_worse(self):
    before = [_outcome(i, [100.0], "eval/perplexity") for i in range(5)]
    judge = stopping.Judge(stopping.MEDIAN, "language_modeling", before)
    for perplexity, stops in ((99.0, False), (101.0, True)):
      trial = trials.Trial("", f"{perplexity}", None, {}, 0)
      reason = judge.reason_to_stop(trial, [perplexity])
      self.assertEqual(reason is not None, stops)

  @unittest.skipIf(optuna is None, "Optuna is not installed")
  def test_a_quarter_goes_on(self):
    judge = stopping.Judge(stopping.HALVING, "image_classification", [])
    going_on = [
      judge.reason_to_stop(trials.Trial("", f"{i}", None, {}, 0), [i / 10])
      is None
      for i in range(8, 0, -1)
    ]
    self.assertEqual(going_on, [True] + [False] * 7)


if __name__ == "__main__":
  tf.test.main()
