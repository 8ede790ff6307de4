import dataclasses
import json
import math
import os
import shutil

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from tests.trainers import contract
from tests.trainers.language_modeling import small_run
from tests.trainers.language_modeling.numpy_awd_lstm import NumpyAwdLstm
from trainers.devices import Runtime
from trainers.errors import UserError
from trainers.language_modeling import experiment
from trainers.language_modeling.__main__ import TRAINER


class TrainTest(
  contract.TrainerContract, tf.test.TestCase, parameterized.TestCase
):
  trainer = TRAINER
  files = (
    "best",
    "checkpoints",
    "config.json",
    "events",
    "lock",
    "metrics.jsonl",
    "model.keras",
    "results.json",
    "runtime.json",
    "source.json",
    "vocabulary.json",
    "words.txt",
  )
  final_file = "results.json"
  steps = (4, 8, 12, 16)
  longer_fields = {"num_epochs": 3.0}
  last_metrics = (
    "train/words",
    "train/learning_rate",
    "words_per_second",
    "eval/loss",
    "eval/accuracy",
    "eval/perplexity",
  )
  batch_shapes = ((), (), (), (1, 16))
  parameters = 8
  told = (
    ("train", "466 words in 90 lines"),
    ("validation", "59 words in 12 lines"),
    ("vocabulary", "21 words"),
    ("plateau", "times 0.5 after 15 evaluations without a better loss"),
  )
  best = "perplexity"
  next_programs = (
    "trainers.language_modeling.generate",
    "trainers.language_modeling.evaluate",
    "tensorboard.main",
  )
  diverging_fields = {
    "learning_rate.peak": 1e38,
    "optimizer.arguments.global_clipnorm": 1e30,
  }
  learning_fields = {"learning_rate.peak": 5.0}
  mistakes = (
    ({"global_batch_size": 7}, 2, "global_batch_size=7 .*replicas.* 2"),
    ({"global_batch_size": 99}, 1, "global_batch_size=99 .*train.txt"),
    ({"bptt": 600}, 1, "bptt=600 .*train.txt"),
    ({"eval_batch_size": 999}, 1, "eval_batch_size=999 .*valid.txt"),
    ({"bptt": 0}, 1, "bptt must be positive"),
    ({"bptt_lengths": (10, 5)}, 1, r"bptt_lengths .*\(10, 5\)"),
    ({"jit_compile": True}, 2, "jit_compile=True cannot"),
    ({"num_epochs": 0.0}, 1, "num_epochs must be positive"),
    ({"data.made_up_words": 2}, 1, "data.made_up_words must be 3 or more"),
    ({"model.num_layers": 9}, 1, "model.num_layers must be from 1 to 8"),
    ({"model.word_dropout": 1.0}, 1, r"model.word_dropout .*\[0, 1\)"),
    ({"activation_penalty": -1.0}, 1, "activation_penalty .*-1.0"),
    ({"plateau.factor": 1.0}, 1, "plateau.factor .*1.0"),
    ({"plateau.patience": -1}, 1, "plateau.patience .*-1"),
    ({"final_weights": "average"}, 1, "final_weights must be one of"),
    ({"learning_rate.schedule": "linear"}, 1, "Received: 'linear'"),
    ({"optimizer.name": "adan"}, 1, "optimizer.name must be"),
    (
      {"optimizer.arguments.patience": 5},
      1,
      "optimizer.arguments.patience: sgd has no argument 'patience'",
    ),
    (
      {"optimizer.name": "nt_asgd"},
      1,
      "optimizer.name='nt_asgd' and lookahead exclude each other",
    ),
    (
      {
        "optimizer.name": "nt_asgd",
        "optimizer.arguments.patience": 0,
        "lookahead": None,
      },
      1,
      "patience.* 1 or more. Received: 0",
    ),
    ({"data.name": "ptb"}, 1, "data.name must be one of"),
    ({"data.train_file": "none"}, 1, "none is not a file"),
  )

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.directory = os.path.join(cls.get_temp_dir(cls()), "text")
    small_run.write_text(cls.directory)

  @classmethod
  def make_config(cls, **fields):
    return small_run.config(cls.directory, **fields)

  def test_the_perplexity_of_the_saved_model(self):
    with open(os.path.join(self.finished(), "results.json")) as file:
      results = json.load(file)
    with open(os.path.join(self.finished(), "words.txt")) as file:
      words = file.read().split("\n")[:-1]
    model = keras.saving.load_model(
      os.path.join(self.finished(), "model.keras")
    )
    tokens = [
      words.index(word)
      for line in small_run.lines(15, seed=2)
      for word in [*line.split(), "<eos>"]
    ]
    before = np.array([[words.index("<eos>"), *tokens[:-1]]])
    log_p, *_ = NumpyAwdLstm(model)(before)
    loss = -np.mean(log_p[0, np.arange(len(tokens)), tokens])
    self.assertEqual(results["split"], "test")
    self.assertEqual(results["words"], len(tokens))
    # Three columns with 4 words of context are nearly one.
    self.assertAllClose(results["loss"], loss, rtol=1e-3)
    self.assertAllClose(results["perplexity"], math.exp(results["loss"]))
    # The last weights are the slow ones, which the evaluation saw.
    self.assertStartsWith(results["weights"], "last")

  def test_learns(self):
    config = self.make_config(
      **{
        "num_epochs": 8.0,
        "steps_per_loop": 50,
        "checkpoint_every_epochs": 8.0,
        "optimizer.name": "adam",
        "learning_rate.peak": 0.05,
        **{
          f"model.{name}_dropout": 0.0
          for name in ("word", "input", "hidden", "output", "weight")
        },
      }
    )
    lines = self.train(config, self.workdir)
    evaluated = [x["eval/perplexity"] for x in lines if "eval/perplexity" in x]
    self.assertLess(evaluated[-1], 0.5 * evaluated[0])

  @parameterized.parameters(
    ("valid", "", "valid.txt has no words"),
    ("valid", "new words here\n" * 9, "27 of its 27 words .*3 different"),
    ("valid", f"{'long' * 999} word\n", "such as 'long.{0,25}'.* no <unk>"),
    ("train", f"{' '.join(small_run.WORDS)}\n", "less|more than .*train.txt"),
  )
  def test_texts_that_do_not_go(self, name, text, message):
    directory = os.path.join(self.get_temp_dir(), self.id().split()[0], "text")
    shutil.copytree(self.directory, directory)
    for one in ("train", "valid", "test"):  # Without <unk>.
      path = os.path.join(directory, f"{one}.txt")
      with open(path) as file:
        content = file.read().replace("<unk>", "sees")
      with open(path, "w") as file:
        file.write(text if one == name else content)
    with self.assertRaisesRegex(UserError, message):
      self.train(small_run.config(directory), self.workdir)
    self.assertFalse(os.path.exists(self.workdir))

  def test_the_vocabulary_of_another_run(self):
    shutil.copytree(self.finished(), self.workdir)
    path = os.path.join(self.workdir, "vocabulary.json")
    with open(path) as file:
      record = json.load(file)
    with open(path, "w") as file:
      json.dump({**record, "size": 5}, file)
    with self.assertRaisesRegex(UserError, "vocabulary.size: 5 -> "):
      self.train(self.make_config(), self.workdir)

  def test_starting_from_a_run_of_another_size(self):
    config = self.make_config(**{"model.hidden_size": 9})
    with self.assertRaisesRegex(
      UserError, "another model: model.hidden_size is 12 there and 9 here"
    ):
      self.train(config, self.workdir, init_from=self.finished())
    self.assertFalse(os.path.exists(self.workdir))

  def test_the_vocabulary_of_the_run_to_start_from(self):
    with open(os.path.join(self.finished(), "words.txt")) as file:
      words = file.read().split()
    text = {"train": reversed(small_run.lines(90, seed=0)), "valid": ["wolf"]}
    paths = {}
    for name, lines in text.items():
      paths[name] = os.path.join(self.get_temp_dir(), f"other_{name}.txt")
      with open(paths[name], "w") as file:
        file.writelines(f"{line}\n" for line in lines)
    config = self.make_config(
      **{
        "data.train_file": paths["train"],
        "data.validation_file": paths["valid"],
        "data.test_file": None,
        "eval_batch_size": 1,
      }
    )
    # A run that has started goes on without the other one.
    started = shutil.copytree(self.finished(), self.workdir)
    for workdir, init_from in (
      (f"{self.workdir}_new", self.finished()),
      (started, f"{self.workdir}_gone"),
    ):
      run = Runtime(
        tf.distribute.OneDeviceStrategy("CPU:0"), workdir, init_from=init_from
      )
      texts = experiment.load(config, run).texts
      self.assertEqual([*texts.words.words], words)
      end, unknown = words.index("<eos>"), words.index("<unk>")
      self.assertAllEqual(texts.tokens["validation"], [unknown, end])
    run = dataclasses.replace(run, init_from=None)
    own = experiment.load(config, run).texts.words.words
    self.assertNotEqual([*own], words)
    self.assertCountEqual(own, words)

  def test_resuming_within_an_epoch_is_exact(self):
    """With the carried state, lengths, masks, the rate and the averages."""
    fields = {
      "optimizer.name": "nt_asgd",
      "optimizer.arguments.patience": 1,
      "lookahead": None,
      "plateau.patience": 1,
      "learning_rate.peak": 40.0,  # Too much, so that it is halved.
      "num_epochs": 4.0,
      "eval_every_epochs": 0.5,
      "checkpoint_every_epochs": 0.3,
      "keep_checkpoints": 100,
    }
    config = self.make_config(**fields)
    whole = self.train(config, os.path.join(self.workdir, "whole"))
    rates = {line["train/learning_rate"] for line in whole}
    self.assertGreater(len(rates), 1)
    for keep in (1, 5):  # Steps 3 and 15, where an epoch has 8.
      other = os.path.join(self.workdir, f"{keep}")
      shutil.copytree(os.path.join(self.workdir, "whole"), other)
      directory = os.path.join(other, "checkpoints")
      steps = sorted(
        int(name[5:-6])
        for name in os.listdir(directory)
        if name.endswith(".index")
      )
      for step in steps[keep:]:
        for name in os.listdir(directory):
          if name.startswith(f"ckpt-{step}."):
            os.remove(os.path.join(directory, name))
      resumed = self.train(config, other)
      self.assertLen(resumed, len(whole))
      for line, expected in zip(resumed, whole):
        for name in line:
          if "per_second" not in name:
            self.assertEqual(line[name], expected[name], (keep, name))
      self.assertSameWeights(
        other, os.path.join(self.workdir, "whole"), rtol=0, atol=0
      )


if __name__ == "__main__":
  tf.test.main()
