import json
import os
import shlex
import shutil
import sys
from unittest import mock

import keras
import tensorflow as tf
from absl.testing import parameterized

from configs import digits, multi30k
from trainers import summary


class SummaryTest(tf.test.TestCase, parameterized.TestCase):
  def test_values_stand_in_one_column(self):
    self.assertEqual(
      summary.block("Title", [("a", "1"), ("long name", "two words")]),
      "Title\n  a          1\n  long name  two words",
    )

  @parameterized.parameters(
    (1, "class", "1 class"),
    (0, "class", "0 classes"),
    (12_345, "image", "12,345 images"),
    (0.25, "epoch", "0.25 epochs"),
    (2.0, "epoch", "2 epochs"),
    (1234.56, "step", "1.23e+03 steps"),
  )
  def test_counted(self, number, noun, text):
    self.assertEqual(summary.counted(number, noun), text)

  def test_optimizer(self):
    config = digits.get_config("lookahead")
    config.optimizer.arguments.nesterov = True
    config.lookahead.inner_state = "reset"
    self.assertEqual(
      summary.optimizer(config.to_dict()),
      [
        (
          "optimizer",
          "Lookahead(SGD(momentum=0.9, nesterov=True), sync_period=5, "
          "slow_step_size=0.5, inner_state='reset')",
        ),
        ("learning rate", "0.1, cosine, after a warmup of 1 epoch"),
      ],
    )
    config.num_epochs = config.learning_rate.warmup
    _, (_, rate) = summary.optimizer(config.to_dict())
    self.assertEndsWith(
      rate, "a warmup of 1 epoch, which the run does not outlast"
    )
    config = multi30k.get_config("adam").to_dict()
    (_, optimizer), (_, rate) = summary.optimizer(config)
    self.assertStartsWith(optimizer, "Adam(")
    self.assertNotIn("Lookahead", optimizer)
    (place,) = config["learning_rate"]["decay_at"]
    self.assertEndsWith(rate, f"less from steps {place:g} on")

  def test_model(self):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(500)])
    self.assertEqual(summary.model("mlp", model), "mlp, 2,000 parameters")

  def test_length(self):
    self.assertEqual(
      summary.length(44, 22, "64 images", 30),
      [
        ("length", "44 steps of 64 images, 2 epochs of 22 steps"),
        ("goes on", "from step 30"),
      ],
    )
    self.assertLen(summary.length(44, 22, "64 images", 0), 1)
    (_, finished) = summary.length(44, 22, "64 images", 44)
    self.assertEqual(finished, ("goes on", "from step 44, the last one"))

  def test_slow_weights(self):
    self.assertEmpty(summary.slow_weights(5, 5))
    ((name, text),) = summary.slow_weights(1, 5)
    self.assertEqual(name, "slow weights")
    self.assertEndsWith(
      text, "makes 1 update, less than a period of lookahead.sync_period=5"
    )

  def test_metric_text(self):
    for name, value, expected in (
      ("accuracy", 0.91666, "91.67%"),
      ("bleu", 20.456, "20.46"),
      ("perplexity", 12345.678, "12345.68"),
      ("loss", 0.123456, "0.1235"),
    ):
      self.assertEqual(summary.metric_text(name, value), expected)

  def test_outcome(self):
    workdir = self.get_temp_dir()
    path = os.path.join(workdir, "metrics.jsonl")

    def outcome(*values, **options):
      with open(path, "w") as file:
        for step, value in enumerate(values, 1):
          line = {"step": step, "epoch": step, "train/loss": 1.0}
          if value is not None:
            line["eval/accuracy"] = value
          file.write(json.dumps(line) + "\n")
      return dict(summary.outcome(workdir, "accuracy", **options))

    self.assertEqual(
      # Of equal ones the later is the best, as for the checkpoint.
      outcome(0.5, None, 0.75, 0.75, float("nan"), 0.25, None),
      {
        "final accuracy": "25.00% in validation, after step 6",
        "best accuracy": "75.00% in validation, after step 4",
      },
    )
    least = outcome(0.5, 0.25, 0.25, 0.75, is_least=True)
    self.assertEqual(
      least["best accuracy"], "25.00% in validation, after step 3"
    )
    self.assertEmpty(outcome(None))
    self.assertNotIn("best accuracy", outcome(float("nan")))

  def test_commands_run_with_this_python(self):
    for found, expected in (
      (sys.executable, "python"),
      ("/usr/bin/python", None),
      (None, None),
    ):
      with mock.patch.object(shutil, "which", return_value=found):
        words = shlex.split(summary.command("a.b", "--workdir=my runs/1"))
      self.assertEqual(words[1:], ["-m", "a.b", "--workdir=my runs/1"])
      if expected:
        self.assertEqual(words[0], expected)
      else:
        self.assertEqual(os.path.abspath(words[0]), sys.executable)

  def test_end(self):
    self.assertEqual(
      summary.end("Done", [("file", "a")], [("see it", "less a")]),
      "Done\n  file  a\nNext:\n  # see it\n  less a",
    )


if __name__ == "__main__":
  tf.test.main()
