"""Each program runs, as small as it can be, and writes what it says."""

import itertools
import json
import os
import shutil

import tensorflow as tf

from tests import processes


class ProgramsTest(tf.test.TestCase):
  def _run(self, program, *arguments, charts=(".png",)):
    """Returns (what the program printed, what NAME.json holds)."""
    folder = os.path.join(self.get_temp_dir(), self.id())
    process = processes.Program(
      f"benchmarks.{program}", [f"--results={folder}", *arguments], {}
    )
    status, errors = process.wait()
    self.assertEqual(status, 0, errors)
    output = process.stdout()
    with open(os.path.join(folder, f"{program}.md")) as file:
      self.assertIn(file.read(), output)
    for ending in charts:
      image = tf.io.read_file(os.path.join(folder, f"{program}{ending}"))
      self.assertGreater(tf.io.decode_png(image).shape[1], 500)
    with open(os.path.join(folder, f"{program}.json")) as file:
      return output, json.load(file)

  def test_optimizer(self):
    output, results = self._run(
      "optimizer",
      "--models=tiny",
      "--inners=sgd",
      "--sync_periods=5",
      "--rounds=2",
      "--patience=0",
      "--nomemory",
      f"--peers_python={shutil.which('false')}",
    )
    (record,) = results["time"]
    self.assertEqual(
      list(record["seconds_per_step"]),
      ["lookahead_tf, graph", "lookahead_tf, XLA", "lookahead_tf, loop by XLA"],
    )
    self.assertLen(
      record["seconds_per_step"]["lookahead_tf, XLA"]["lookahead"], 2
    )
    self.assertIn("timm: not measured: its process ended", output)

  def test_training_step(self):
    output, results = self._run(
      "training_step",
      "--models=speedrun",
      "--executions=graph",
      "--sync_period=1",
      "--rounds=2",
      "--patience=0",
      "--batch_sizes=2",
      "--width=8",
      f"--peers_python={shutil.which('false')}",
      charts=("_ratios.png", "_speeds.png"),
    )
    (record,) = results["time"]
    self.assertEqual(
      (record["model"], record["batch_size"], record["per_step"]),
      ("speedrun", 2, 2),
    )
    self.assertEqual(
      list(record["seconds_per_step"]),
      [
        "graph, Lookahead",
        "graph, inner optimizer",
        "graph, inner optimizer again (noise)",
      ],
    )
    self.assertLen(record["seconds_per_step"]["graph, Lookahead"], 2)
    self.assertEqual(output.count("PyTorch: not measured"), 1)

  def test_training_step_of_texts(self):
    _, results = self._run(
      "training_step",
      "--models=transformer",
      "--models=awd_lstm",
      "--executions=graph",
      "--variants=lookahead",
      "--sync_period=1",
      "--rounds=2",
      "--patience=0",
      "--batch_sizes=2",
      "--width=8",
      "--layers=1",
      "--subwords=20",
      "--length=5",
      "--hidden_size=8",
      "--words=50",
      charts=("_speeds.png",),
    )
    self.assertEqual(
      [(record["model"], record["per_step"]) for record in results["time"]],
      [("transformer", 2 * 5), ("awd_lstm", 2 * 70)],
    )
    for record in results["time"]:
      self.assertEqual(list(record["seconds_per_step"]), ["graph, Lookahead"])
      self.assertLen(record["seconds_per_step"]["graph, Lookahead"], 2)

  def test_training_step_of_one_variant_by_xla(self):
    _, results = self._run(
      "training_step",
      "--models=narrow_resnet",
      "--executions=xla",
      "--variants=lookahead",
      "--sync_period=1",
      "--rounds=2",
      "--patience=0",
      "--batch_sizes=2",
      "--image_size=8",
      "--channels=2",
      charts=("_speeds.png",),
    )
    (record,) = results["time"]
    self.assertEqual(
      record["title"], "narrow ResNet-18, 2 channels, 8x8, batch 2"
    )
    self.assertEqual(list(record["seconds_per_step"]), ["xla, Lookahead"])

  def test_training_step_in_both_precisions(self):
    output, results = self._run(
      "training_step",
      "--models=narrow_resnet",
      "--executions=graph",
      "--variants=inner",
      "--precisions=float32",
      "--precisions=bfloat16",
      "--clock=cpu",
      "--sync_period=1",
      "--rounds=2",
      "--patience=0",
      "--batch_sizes=2",
      "--image_size=8",
      "--channels=2",
      charts=("_speeds.png",),
    )
    (record,) = results["time"]
    self.assertEqual(
      list(record["seconds_per_step"]),
      ["graph, inner optimizer", "graph, inner optimizer, bfloat16"],
    )
    row = next(x for x in output.splitlines() if "optimizer, bfloat16 " in x)
    self.assertIn("| graph, inner optimizer |", row)
    self.assertIn("CPU time, k = 1", output)

  def test_training_loop(self):
    output, results = self._run(
      "training_loop",
      "--config=configs/digits.py",
      "--steps=2",
      "--rounds=2",
      "--patience=0",
    )
    self.assertEqual(
      list(results["seconds_per_image"]),
      ["Keras' fit", "bare steps", "training loop"],
    )
    self.assertIn("times bare steps", output)

  def test_image_input(self):
    output, results = self._run(
      "image_input",
      "--number_of_images=12",
      "--batch_size=2",
      "--steps=3",
      "--rounds=2",
      "--patience=0",
      "--accelerator_images_per_second=1e6",
      f"--peers_python={shutil.which('false')}",
    )
    seconds = results["seconds_per_image"]
    self.assertLen(seconds, 4)
    self.assertLen(seconds["large_images"], 2)
    self.assertIn("12 files of ", output)
    self.assertRegex(
      output, r"- large_images: [\d,]+ images/s .* \d+ such cores"
    )
    self.assertIn("torchvision: not measured: its process ended", output)

  def test_decoding(self):
    _, results = self._run(
      "decoding",
      "--rounds=2",
      "--searches=1",
      "--patience=0",
      "--width=8",
      "--layers=1",
      "--subwords=40",
      "--sentences=3",
      "--length=5",
      "--extra_length=2",
      "--beam_size=2",
    )
    self.assertEqual(results["sentences"], 3)
    self.assertEqual(
      list(results["seconds_per_sentence"]), ["ours, graph", "ours, XLA"]
    )

  def test_translation_input(self):
    files = {}
    for split, side in itertools.product(
      ("train", "validation"), ("source", "target")
    ):
      path = os.path.join(self.get_temp_dir(), f"{split}.{side}")
      with open(path, "w") as file:
        file.writelines(f"{side} of a bird {i}\n" for i in range(50))
      files[f"{split}_{side}"] = path
    _, results = self._run(
      "translation_input",
      "--config=configs/translation.py",
      "--config.data.name=text_files",
      *(f"--config.data.{name}={path}" for name, path in files.items()),
      "--config.vocabulary.size=283",
      "--max_lengths=32",
      "--batch_tokens=64",
      "--batches=2",
      "--made_up_pairs=1000",
      charts=(),
    )
    self.assertEqual(results["rows"][0]["pairs"], 50)
    self.assertEqual(results["made_up"]["pairs"], 1000)

  def test_slow_network_refuses_periods_that_loops_do_not_fit(self):
    process = processes.Program(
      "benchmarks.slow_network", ["--sync_periods=5,7"], {}
    )
    status, errors = process.wait()
    self.assertEqual(status, 1)
    self.assertRegex(errors, "--sync_periods.*--steps_per_loop=5.*7")


if __name__ == "__main__":
  tf.test.main()
