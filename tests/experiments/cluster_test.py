"""Sweeps on a real Ray cluster of this machine."""

import os
import signal
import tempfile
import unittest

import psutil
import tensorflow as tf

from experiments import outcomes
from tests.experiments import programs
from tests.processes import Program
from tests.trainers import command_line
from trainers import metrics

try:
  import ray
except ImportError:
  ray = None


@unittest.skipIf(ray is None, "Ray is not installed: the extra cluster")
class ClusterTest(tf.test.TestCase):
  def test_a_process_that_is_killed_and_trials_that_end_otherwise(self):
    sweep = tempfile.mkdtemp()
    arguments = [
      f"--config={command_line.ROOT}/configs/digits.py:sgd",
      "--grid=learning_rate.peak=0.1,1e9",
      "--override=num_epochs=16",
      "--override=checkpoint_every_epochs=2",
      "--override=learning_rate.warmup=0",
      f"--workdir={sweep}",
      "--cluster=local",
    ]
    first, second = (
      os.path.join(sweep, "digits_sgd", f"learning_rate.peak={rate}", "seed_0")
      for rate in ("0.1", "1000000000.0")
    )
    program = Program("experiments.sweep", arguments, {})
    self.addCleanup(program.send_signal, signal.SIGKILL)
    self._kill_after(program, first, lines=3)
    status, text = program.wait()
    self.assertEqual(status, 0, text)
    with open(outcomes.log_of(first)) as file:
      self.assertIn("goes on", file.read())
    self.assertEqual(
      [line["epoch"] for line in metrics.read(first)], [*range(1, 17)]
    )
    with open(os.path.join(second, "trial.json")) as file:
      self.assertIn("diverged", file.read())
    self.assertContainsSubset(
      ["results.md", "hparams", "sweep.json"], os.listdir(sweep)
    )
    self.assertNotIn("ray", os.listdir(sweep))

  def _kill_after(self, program, directory, lines):
    """Kills the process that trains a trial with so many evaluations."""
    program.wait_until(lambda: programs.count_lines(directory) >= lines)
    killed = 0
    for process in psutil.Process(program.pid).children(recursive=True):
      if any(
        file.path == os.path.join(directory, "lock")
        for file in process.open_files()
      ):
        process.kill()
        killed += 1
    self.assertEqual(killed, 1)


if __name__ == "__main__":
  tf.test.main()
