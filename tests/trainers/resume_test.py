"""A run that is killed and started again is the run that was never killed."""

import os
import random
import signal
import time

import tensorflow as tf

from tests.trainers import trainer_process
from trainers import errors, metrics


def _start(workdir):
  return trainer_process.start(
    workdir,
    "--deterministic",
    "--config.num_epochs=2.0",
    "--config.steps_per_loop=2",
    "--config.eval_every_epochs=0.25",
    "--config.checkpoint_every_epochs=0.2",
    "--config.lookahead.sync_period=4",
  )


def _last_step(workdir):
  try:
    return metrics.read(workdir)[-1]["step"]
  except (tf.errors.NotFoundError, IndexError):
    return 0


class ResumeTest(tf.test.TestCase):
  def _interrupt(self, workdir, number, after_step, delay):
    """Starts the run and sends it a signal; returns its exit status."""
    # A killed run may have written more than it was waited for, and what is
    # there already does not tell that the next one has begun.
    after_step = max(after_step, _last_step(workdir) + 1)
    process = _start(workdir)
    while _last_step(workdir) < after_step and process.is_running():
      time.sleep(0.01)
    time.sleep(delay)
    process.send_signal(number)
    status, _ = process.wait()
    return status

  def assertFinishes(self, process):
    status, text = process.wait()
    self.assertEqual(status, 0, text)

  def test_killed_and_terminated_anywhere(self):
    whole = os.path.join(self.get_temp_dir(), "whole")
    self.assertFinishes(_start(whole))
    expected_weights, expected_lines = trainer_process.result(whole)

    workdir = os.path.join(self.get_temp_dir(), "killed")
    seed = int(time.time())
    random.seed(seed)
    for after_step in (2, 14):
      delay = random.uniform(0, 0.1)
      status = self._interrupt(workdir, signal.SIGKILL, after_step, delay)
      self.assertEqual(status, -signal.SIGKILL)
    status = self._interrupt(workdir, signal.SIGTERM, 22, 0)
    self.assertEqual(status, errors.EXIT_STATUS)
    status = self._interrupt(workdir, signal.SIGINT, 28, 0)
    self.assertEqual(status, -signal.SIGINT)
    before = metrics.read(workdir)
    self.assertFinishes(_start(workdir))
    # It went on from there: speeds of lines that are made again would differ.
    self.assertGreaterEqual(before[-1]["step"], 28)
    self.assertEqual(metrics.read(workdir)[: len(before)], before)
    weights, lines = trainer_process.result(workdir)
    self.assertEqual(lines, expected_lines, f"random seed {seed}")
    for one, other in zip(weights, expected_weights, strict=True):
      self.assertAllEqual(one, other)


if __name__ == "__main__":
  tf.test.main()
