"""Each program runs, as small as it can be, and writes what it says."""

import itertools
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
      ["lookahead_tf, graph", "lookahead_tf, XLA", "lookahead_tf, loop by XLA"],
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
      "--batch_sizes=1",
    )
    (record,) = self._results(workdir, output)["time"]
    self.assertLen(record["seconds_per_step"]["Lookahead"], 2)
    self.assertEqual(record["model"], "transformer")
    self.assertEqual(record["batch_size"], 1)

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
    self.assertEqual(record["per_step"], 2)
    self.assertLen(record["seconds_per_step"]["ours, graph, Lookahead"], 2)

  def test_image_input(self):
    workdir = os.path.join(self.get_temp_dir(), self.id())
    output = self._run(
      "image_input",
      f"--workdir={workdir}",
      "--number_of_images=12",
      "--batch_size=2",
      "--steps=3",
      "--rounds=2",
      "--patience=0",
      "--accelerator_images_per_second=1e6",
      f"--torchvision_python={shutil.which('false')}",
    )
    record = self._results(workdir, output, "speed.png")
    seconds = record["seconds_per_image"]
    self.assertLen(seconds, 4)
    self.assertLen(seconds["large_images"], 2)
    self.assertIn("12 files of ", output)
    self.assertRegex(output, r"- large_images: \d+")
    self.assertIn("torchvision: not measured: its process ended", output)

  def test_translation_step(self):
    workdir = os.path.join(self.get_temp_dir(), self.id())
    output = self._run(
      "translation_step",
      f"--workdir={workdir}",
      "--variants=graph",
      "--rounds=2",
      "--steps=1",
      "--patience=0",
      "--width=8",
      "--layers=1",
      "--subwords=20",
      "--rows=3",
      "--length=5",
    )
    (record,) = self._results(workdir, output, "speed.png")["time"]
    self.assertEqual(record["per_step"], 15)
    self.assertLen(record["seconds_per_step"]["ours, graph"], 2)

  def test_translation_decoding(self):
    workdir = os.path.join(self.get_temp_dir(), self.id())
    output = self._run(
      "translation_decoding",
      f"--workdir={workdir}",
      "--rounds=2",
      "--steps=1",
      "--patience=0",
      "--width=8",
      "--layers=1",
      "--subwords=40",
      "--sentences=3",
      "--length=5",
      "--extra_length=2",
      "--beam_size=2",
    )
    (record,) = self._results(workdir, output, "speed.png")["time"]
    self.assertEqual(record["per_step"], 3)
    self.assertEqual(
      list(record["seconds_per_step"]), ["ours, graph", "ours, XLA"]
    )

  def test_translation_input(self):
    workdir = os.path.join(self.get_temp_dir(), self.id())
    files = {}
    for split, side in itertools.product(
      ("train", "validation"), ("source", "target")
    ):
      path = os.path.join(self.get_temp_dir(), f"{split}.{side}")
      with open(path, "w") as file:
        file.writelines(f"{side} of a bird {i}\n" for i in range(50))
      files[f"{split}_{side}"] = path
    output = self._run(
      "translation_input",
      f"--workdir={workdir}",
      "--config=configs/translation.py",
      "--config.data.name=text_files",
      *(f"--config.data.{name}={path}" for name, path in files.items()),
      "--config.vocabulary.size=283",
      "--max_lengths=32",
      "--batch_tokens=64",
      "--batches=2",
      "--made_up_pairs=1000",
    )
    with open(os.path.join(workdir, "table.md")) as file:
      self.assertIn(file.read(), output)
    with open(os.path.join(workdir, "results.json")) as file:
      results = json.load(file)
    self.assertEqual(results["rows"][0]["pairs"], 50)
    self.assertEqual(results["made_up"]["pairs"], 1000)


if __name__ == "__main__":
  tf.test.main()
