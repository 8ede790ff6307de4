"""Each strategy gives what one device gives, in processes of its own."""

import os
import signal
import time

import keras
import tensorflow as tf

from tests import processes
from tests.trainers import trainer_process
from trainers import errors, metrics


def _start(workdir, *arguments, **environment):
  return trainer_process.start(
    workdir,
    "--config.num_epochs=1.0",
    "--config.learning_rate.peak=0.02",
    "--config.steps_per_loop=4",
    "--config.eval_every_epochs=0.5",
    "--config.checkpoint_every_epochs=0.5",
    *arguments,
    **environment,
  )


def _start_two(workdir, *arguments):
  return [
    _start(workdir, *arguments, TF_CONFIG=text)
    for text in processes.tf_configs(2)
  ]


class StrategiesTest(tf.test.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.one_device = os.path.join(cls.get_temp_dir(cls()), "one")
    status, text = _start(cls.one_device).wait()
    assert status == 0, text

  def _path(self, name):
    return os.path.join(self.get_temp_dir(), name)

  def assertFinish(self, *processes):
    for process in processes:
      status, text = process.wait()
      self.assertEqual(status, 0, text)

  def assertEqualsOneDevice(self, workdir):
    self.assertSameRun(workdir, self.one_device)

  def assertSameRun(self, workdir, other):
    weights, lines = trainer_process.result(workdir)
    expected_weights, expected_lines = trainer_process.result(other)
    self.assertLen(lines, len(expected_lines))
    for line, expected in zip(lines, expected_lines):
      for name, value in expected.items():
        # A rounding may decide on which side of the border an example is.
        atol = 0.01 if "accuracy" in name else 0.0
        self.assertAllClose(line[name], value, rtol=1e-4, atol=atol)
    for one, expected in zip(weights, expected_weights, strict=True):
      self.assertAllClose(one, expected, rtol=2e-4, atol=2e-5)

  def test_four_replicas(self):
    workdir = self._path("four")
    self.assertFinish(
      _start(workdir, "--strategy=mirrored", "--logical_cpus=4")
    )
    self.assertEqualsOneDevice(workdir)

  def test_two_processes_through_a_sigterm(self):
    workdir = self._path("two")
    processes = _start_two(workdir)
    while not os.path.exists(os.path.join(workdir, "metrics.jsonl")):
      self.assertTrue(processes[0].is_running(), processes[0].stderr())
      time.sleep(0.02)
    # To the one that is not the chief: both have to stop.
    processes[1].send_signal(signal.SIGTERM)
    for process in processes:
      status, text = process.wait()
      self.assertEqual(status, errors.EXIT_STATUS, text)
    before = metrics.read(workdir)
    self.assertFinish(*_start_two(workdir))
    # It went on from there: speeds of lines that are made again would differ.
    self.assertNotEmpty(before)
    self.assertEqual(metrics.read(workdir)[: len(before)], before)
    self.assertEqualsOneDevice(workdir)

  def test_local_steps_in_two_processes_of_which_one_dies(self):
    """What comes after it is what two replicas of one process do."""
    arguments = (
      "--config.lookahead.local_steps=True",
      "--config.lookahead.sync_period=6",  # A checkpoint is within a period.
      "--config.model.synchronized_batch_norm=False",
    )
    together, workdir = self._path("together"), self._path("apart")
    mirrored = ("--strategy=mirrored", "--logical_cpus=2")
    self.assertFinish(_start(together, *arguments, *mirrored))
    running = _start_two(workdir, *arguments)
    running[0].wait_until(
      lambda: os.path.exists(
        os.path.join(workdir, "checkpoints", "ckpt-11.index")
      )
    )
    running[1].send_signal(signal.SIGKILL)
    status, text = running[0].wait()
    self.assertEqual(status, errors.EXIT_STATUS, text)
    self.assertContainsSubset(
      [f"ckpt-11.replicas-{i}-of-2x1.index" for i in range(2)],
      os.listdir(os.path.join(workdir, "checkpoints")),
    )
    self.assertFinish(*_start_two(workdir, *arguments))
    self.assertSameRun(workdir, together)
    lines = metrics.read(workdir)
    self.assertGreater(lines[-1]["train/replica_drift"], 0.0)
    sent = [line["train/bytes_sent_per_step"] for line in lines]
    self.assertEqual(min(sent), 0.0)  # Of four steps within a period.
    self.assertGreater(max(sent), 0.0)

  def test_two_processes_start_from_a_run(self):
    workdir = self._path("started")
    self.assertFinish(
      *_start_two(
        workdir,
        f"--init_from={self.one_device}",
        "--config.num_epochs=0.5",
        "--config.learning_rate.peak=1e-12",
      )
    )
    models = [
      keras.models.load_model(os.path.join(directory, "best.keras"))
      for directory in (self.one_device, workdir)
    ]
    for one, other in zip(*(model.trainable_variables for model in models)):
      self.assertAllClose(one, other, atol=1e-6)


if __name__ == "__main__":
  tf.test.main()
