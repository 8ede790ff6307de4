"""Each program runs, as small as it can be, and writes what it says."""

import json
import os
import shutil
import subprocess
import sys

import tensorflow as tf

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))


class ProgramsTest(tf.test.TestCase):
  def _run(self, program, *arguments):
    return subprocess.run(
      [sys.executable, "-m", f"benchmarks.{program}", *arguments],
      cwd=_ROOT,
      env={**os.environ, "PYTHONPATH": _ROOT},
      check=True,
      stdout=subprocess.PIPE,
      text=True,
    ).stdout

  def _results(self, workdir, output, picture="ratios.png"):
    with open(os.path.join(workdir, "table.md")) as file:
      self.assertIn(file.read(), output)
    image = tf.io.read_file(os.path.join(workdir, picture))
    self.assertGreater(tf.io.decode_png(image).shape[1], 500)
    with open(os.path.join(workdir, "results.json")) as file:
      return json.load(file)

  def test_optimizer_step(self):
    workdir = os.path.join(self.get_temp_dir(), self.id())
    output = self._run(
      "optimizer_step",
      f"--workdir={workdir}",
      "--models=tiny",
      "--inners=sgd",
      "--sync_periods=5",
      "--rounds=2",
      "--patience=0",
      "--nomemory",
      f"--peers_python={shutil.which('false')}",
    )
    (record,) = self._results(workdir, output)["time"]
    self.assertEqual(
      list(record["seconds_per_step"]),
      ["lookahead_tf, graph", "lookahead_tf, XLA"],
    )
    self.assertLen(
      record["seconds_per_step"]["lookahead_tf, XLA"]["lookahead"], 2
    )
    self.assertIn("timm: not measured: its process ended", output)

  def test_optimizer_memory(self):
    output = self._run(
      "optimizer_memory",
      "--model=tiny",
      "--inner=sgd",
      "--mode=graph",
      "--sync_period=5",
    )
    memory = json.loads(output)
    parameters = 4 * (64 * 32 + 32 + 32 * 10 + 10)
    # Momentum and slow weights, and a few scalars.
    self.assertBetween(
      memory["state_bytes"], 2 * parameters, 2 * parameters + 64
    )
    self.assertGreater(memory["peak_bytes"], 2**27)  # TensorFlow is in it.

  def test_training_step(self):
    workdir = os.path.join(self.get_temp_dir(), self.id())
    output = self._run(
      "training_step",
      f"--workdir={workdir}",
      "--models=transformer",
      "--modes=graph",
      "--rounds=2",
      "--patience=0",
      "--batch_size=1",
    )
    (record,) = self._results(workdir, output)["time"]
    self.assertLen(record["seconds_per_step"]["Lookahead"], 2)
    self.assertEqual(record["model"], "transformer")

  def test_train_step(self):
    workdir = os.path.join(self.get_temp_dir(), self.id())
    output = self._run(
      "train_step",
      f"--workdir={workdir}",
      "--models=resnet18",
      "--variants=graph_lookahead",
      "--rounds=2",
      "--steps=1",
      "--patience=0",
      "--batch_size=2",
    )
    (record,) = self._results(workdir, output, "speed.png")["time"]
    self.assertEqual(record["batch_size"], 2)
    self.assertLen(record["seconds_per_step"]["ours, graph, Lookahead"], 2)


if __name__ == "__main__":
  tf.test.main()
