"""Two processes on the loopback give what one device gives."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time

import keras
import numpy as np
import tensorflow as tf

from trainers import interruption, metrics

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))


def _free_ports(number):
  with contextlib.ExitStack() as stack:
    sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
    for one in sockets:
      one.bind(("localhost", 0))
    return [one.getsockname()[1] for one in sockets]


def _start(workdir, tf_config=None, *arguments):
  environment = {**os.environ, "PYTHONPATH": _ROOT}
  if tf_config is not None:
    environment["TF_CONFIG"] = json.dumps(tf_config)
  command = [
    sys.executable,
    "-m",
    "trainers.image_classification",
    "--config=configs/digits_cnn_lookahead.py",
    f"--workdir={workdir}",
    "--config.num_epochs=2.0",
    "--config.steps_per_loop=4",
    "--config.model.width=8",
    "--config.eval_every_epochs=0.5",
    "--config.checkpoint_every_epochs=0.5",
    *arguments,
  ]
  return subprocess.Popen(
    command,
    cwd=_ROOT,
    env=environment,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.PIPE,
    text=True,
  )


def _start_two(workdir, *arguments):
  workers = [f"localhost:{port}" for port in _free_ports(2)]
  return [
    _start(
      workdir,
      {
        "cluster": {"worker": workers},
        "task": {"type": "worker", "index": index},
      },
      *arguments,
    )
    for index in (0, 1)
  ]


def _read(workdir):
  model = keras.models.load_model(os.path.join(workdir, "model.keras"))
  lines = metrics.read(workdir)
  for line in lines:
    del line["examples_per_second"]
  return [np.array(v) for v in model.variables], lines


class MultiWorkerTest(tf.test.TestCase):
  def _path(self, name):
    return os.path.join(self.get_temp_dir(), name)

  def assertFinish(self, *processes):
    for process in processes:
      _, text = process.communicate(timeout=300)
      self.assertEqual(process.returncode, 0, text)

  def assertSameRun(self, workdir, other):
    weights, lines = _read(workdir)
    expected_weights, expected_lines = _read(other)
    self.assertLen(lines, len(expected_lines))
    for one, expected in zip(lines, expected_lines):
      self.assertAllClose(one, expected, rtol=1e-4)
    for one, expected in zip(weights, expected_weights, strict=True):
      self.assertAllClose(one, expected, rtol=2e-4, atol=2e-5)

  def test_two_processes_and_a_sigterm_equal_one_device(self):
    self.assertFinish(_start(self._path("one")))
    workdir = self._path("two")
    processes = _start_two(workdir)
    while not os.path.exists(os.path.join(workdir, "metrics.jsonl")):
      self.assertIsNone(processes[0].poll(), "it ended too early")
      time.sleep(0.02)
    # To the one that is not the chief: both have to stop.
    processes[1].send_signal(signal.SIGTERM)
    for process in processes:
      _, text = process.communicate(timeout=300)
      self.assertEqual(process.returncode, interruption.EXIT_STATUS, text)
    self.assertFinish(*_start_two(workdir))
    self.assertSameRun(workdir, self._path("one"))


if __name__ == "__main__":
  tf.test.main()
