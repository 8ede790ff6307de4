"""Sweeps in processes of their own, as a user runs and stops them."""

import os
import signal
import tempfile
from unittest import mock

import psutil
import tensorflow as tf

from experiments import local, outcomes, stopping, trials
from experiments.outcomes import Setup
from tests.experiments import programs
from tests.processes import Program
from tests.trainers import command_line
from trainers import devices, errors, metrics

_DIGITS = f"{command_line.ROOT}/configs/digits.py"


def _stop_one(judge, trial, scores):
  """Stands in for `Judge.reason_to_stop`: stops the trials at one rate."""
  del judge
  at_rate = trial.values["learning_rate.peak"] == 0.2
  return f"It had {len(scores)}." if at_rate else None


class OneProcessTest(tf.test.TestCase):
  """Trials that one process trains one after another."""

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.sweep = tempfile.mkdtemp()
    cls.trials = trials.make(
      "image_classification",
      [f"{_DIGITS}:sgd"],
      {
        "global_batch_size": ["64", "2000"],  # Of 1,437 images.
        "learning_rate.peak": ["1e9", "0.2", "0.1"],
      },
      overrides=["num_epochs=1", "learning_rate.warmup=0"],
    )
    with mock.patch.object(stopping.Judge, "reason_to_stop", _stop_one):
      cls.found = local.run(
        cls.trials,
        cls.sweep,
        processes=1,
        setup=Setup(strategy="one_device", deterministic=True),
      )

  def test_how_they_end(self):
    self.assertEqual(
      [one.status for one in self.found],
      ["diverged", "stopped early", "finished", "failed", "failed", "failed"],
    )
    self.assertEqual(self.found[1].reason, "It had 1.")
    self.assertIn("2000", self.found[3].reason)
    with open(self.found[3].log) as file:
      self.assertIn(self.found[3].reason, file.read())

  def test_as_the_trainer_alone(self):
    # Whatever the process has trained before.
    trial, found = self.trials[2], self.found[2]
    run = devices.Runtime(
      tf.distribute.OneDeviceStrategy("/cpu:0"), tempfile.mkdtemp()
    )
    trainer = trials.KINDS[trial.kind].trainer
    trainer.train(trainer.load(trial.config, run), run)
    (line,) = metrics.read(run.workdir)
    for name in ("train/loss", "eval/loss", "eval/accuracy"):
      self.assertAllClose(found.final(name), line[name], rtol=1e-3)

  def test_trials_that_are_over_need_no_process(self):
    over = [0, 2]
    again = local.run([self.trials[i] for i in over], self.sweep)
    self.assertEqual(again, [self.found[i] for i in over])

  def test_a_stop_counts_what_was_over_before(self):
    (new,) = trials.make(
      "image_classification",
      [f"{_DIGITS}:sgd"],
      {"learning_rate.peak": ["0.3"]},
    )
    watch = mock.MagicMock()
    watch.__enter__.return_value.number = signal.SIGTERM
    with (
      mock.patch.object(local.signals, "Watch", return_value=watch),
      mock.patch.multiple(local._Pool, _give=mock.Mock(), _listen=mock.Mock()),
      self.assertRaisesRegex(errors.Interrupted, "with 2 of 3 trials over"),
    ):
      local.run([self.trials[0], self.trials[2], new], self.sweep)


class StoppedTest(tf.test.TestCase):
  """A sweep of two trials whose process is killed, and which is stopped."""

  def _start(self, arguments):
    program = Program("experiments.sweep", arguments, {})
    self.addCleanup(program.send_signal, signal.SIGKILL)
    return program

  def test_a_lost_process_a_ctrl_c_a_sigkill_and_the_rest(self):
    sweep = tempfile.mkdtemp()
    arguments = [
      f"--config={_DIGITS}:sgd",
      "--grid=learning_rate.peak=0.1,0.2",
      "--override=num_epochs=16",
      "--override=checkpoint_every_epochs=2",
      "--processes=1",
      f"--workdir={sweep}",
    ]
    first, second = (
      os.path.join(sweep, "digits_sgd", f"learning_rate.peak={rate}", "seed_0")
      for rate in (0.1, 0.2)
    )
    program = self._start(arguments)
    program.wait_until(lambda: programs.count_lines(first) >= 3)
    (worker,) = _workers(program)
    worker.kill()
    program.wait_until(lambda: programs.count_lines(second) >= 3)
    program.send_signal(signal.SIGINT)
    status, text = program.wait()
    self.assertEqual(status, -signal.SIGINT)
    self.assertIn("Its process ended by signal SIGKILL", text)
    self.assertIn("with 1 of 2 trials over", text)
    with open(outcomes.log_of(second)) as file:
      self.assertIn("with a checkpoint", file.read())

    program = self._start(arguments)
    program.wait_until(lambda: programs.count_lines(first) >= 6)
    (worker,) = _workers(program)
    program.send_signal(signal.SIGKILL)
    program.wait()
    worker.wait(60)  # It ends with its parent.

    program = self._start(arguments)
    status, text = program.wait()
    self.assertEqual(status, 0, text)
    for directory in (first, second):
      with open(outcomes.log_of(directory)) as file:
        self.assertIn("goes on", file.read())
      self.assertEqual(programs.count_lines(directory), 16)
    self.assertIn("results.md", os.listdir(sweep))


def _workers(program):
  """Returns the processes in which a sweep trains."""
  return [
    process
    for process in psutil.Process(program.pid).children()
    if "spawn_main" in " ".join(process.cmdline())
  ]


if __name__ == "__main__":
  tf.test.main()
