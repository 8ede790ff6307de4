"""Sweeps on a real Ray cluster of this machine."""

import json
import os
import signal
import tempfile
import unittest
from unittest import mock

import psutil
import tensorflow as tf

from experiments import cluster, outcomes
from tests.experiments import programs
from tests.experiments.outcomes_test import make_trial
from tests.processes import Program
from tests.trainers import command_line
from trainers import hardware, metrics

try:
  import ray
except ImportError:
  ray = None


@unittest.skipIf(ray is None, "Ray is not installed: the extra cluster")
class ClusterTest(tf.test.TestCase):
  """One sweep, which trains one trial after another."""

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.sweep = tempfile.mkdtemp()
    cls.killed, cls.stopped, cls.diverged = (
      os.path.join(
        cls.sweep, "digits_sgd", f"learning_rate.peak={rate}", "seed_0"
      )
      for rate in (0.1, 1e-06, 1e9)
    )
    program = Program(
      "experiments.sweep",
      [
        f"--config={command_line.ROOT}/configs/digits.py:sgd",
        "--grid=learning_rate.peak=0.1,1e-6,1e9",
        "--override=num_epochs=16",
        "--override=checkpoint_every_epochs=2",
        "--override=learning_rate.warmup=0",
        f"--workdir={cls.sweep}",
        "--cluster=local",
        f"--cpus_per_trial={hardware.count_cores()}",
        "--stop_early=halving",
      ],
      # Nor does Ray's own patience decide: a busy machine takes longer.
      {"TUNE_FUNCTION_THREAD_TIMEOUT_S": "0"},
    )
    cls.addClassCleanup(program.send_signal, signal.SIGKILL)
    _kill_after(program, cls.killed, lines=3)
    cls.status, cls.text = program.wait()

  def test_the_sweep_ends(self):
    self.assertEqual(self.status, 0, self.text)
    self.assertContainsSubset(
      ["results.md", "hparams", "sweep.json"], os.listdir(self.sweep)
    )
    self.assertNotIn("ray", os.listdir(self.sweep))

  def test_a_trial_whose_process_is_killed_goes_on(self):
    with open(outcomes.log_of(self.killed)) as file:
      self.assertIn("goes on", file.read())
    self.assertEqual(
      [line["epoch"] for line in metrics.read(self.killed)], [*range(1, 17)]
    )

  def test_rays_rule_stops_a_trial(self):
    with open(os.path.join(self.stopped, "trial.json")) as file:
      end = json.load(file)
    self.assertEqual(end["status"], outcomes.STOPPED)
    self.assertIn("halving", end["reason"])
    # The rule compares the first evaluation with that of the trial before.
    (line,) = metrics.read(self.stopped)
    self.assertIn(f"{100 * line['eval/accuracy']:.2f} %", end["reason"])
    before = metrics.read(self.killed)[0]["eval/accuracy"]
    self.assertLess(line["eval/accuracy"], before)

  def test_a_trial_that_diverges(self):
    with open(os.path.join(self.diverged, "trial.json")) as file:
      self.assertEqual(json.load(file)["status"], outcomes.DIVERGED)


class EndsTest(tf.test.TestCase):
  """What becomes of Ray's messages on trials, without Ray."""

  def test_ends_that_a_trial_has_recorded_and_those_of_ray(self):
    sweep = tempfile.mkdtemp(dir=self.get_temp_dir())
    done, stopped, lost = todo = [make_trial(num_epochs=n) for n in (1, 2, 3)]
    progress = mock.Mock()
    ends = cluster._Ends(todo, sweep, "halving", progress)
    outcomes.write(done, sweep, outcomes.DIVERGED, "Is nan.")
    ends.completed(0, [0.5])
    ends.completed(1, [0.25, 0.125])
    ends.failed(2, RuntimeError("The process is lost.\nMore."))
    found = [ends.over[trial.name] for trial in todo]
    self.assertEqual(
      [(one.status, one.reason) for one in found],
      [
        (outcomes.DIVERGED, "Is nan."),
        (
          outcomes.STOPPED,
          "The rule halving stopped it after evaluation 2, with accuracy 12.50 "
          "%.",
        ),
        (
          outcomes.FAILED,
          "Ray gave it up after 10 restarts: The process is lost.",
        ),
      ],
    )
    self.assertEqual(
      progress.finished.call_args_list, [mock.call(one) for one in found]
    )
    self.assertEqual([one.trial for one in found], [done, stopped, lost])


def _kill_after(program, directory, lines):
  """Kills the process that trains a trial with so many evaluations."""
  program.wait_until(lambda: programs.count_lines(directory) >= lines)
  (process,) = [
    process
    for process in psutil.Process(program.pid).children(recursive=True)
    if any(
      file.path == os.path.join(directory, "lock")
      for file in process.open_files()
    )
  ]
  process.kill()


if __name__ == "__main__":
  tf.test.main()
