import contextlib
import dataclasses
import io
import itertools
import json
import os
import shutil
from unittest import mock

import tensorflow as tf
from absl.testing import parameterized

from tests.trainers import contract
from tests.trainers.translation import small_run, unspaced_text
from trainers.errors import UserError
from trainers.translation import (
  scoring,
  sources,
)
from trainers.translation.__main__ import TRAINER
from trainers.translation.translator import Translator


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
    "results.json",
    "rows",
    "runtime.json",
    "scoring.json",
    "source.json",
    "test.translations",
    "vocabulary",
    "vocabulary.json",
  )
  final_file = "results.json"
  steps = (2, 4, 6, 8)
  longer_fields = {"num_steps": 10}
  last_metrics = (
    "train/target_tokens",
    "train/learning_rate",
    "target_tokens_per_second",
    "eval/loss",
    "eval/accuracy",
    "eval/bleu",
  )
  batch_shapes = ((2, 32),) * 6
  parameters = 35
  told = (
    ("validation", "12 pairs"),
    ("test", "12 pairs"),
    ("vocabulary", "400 subwords"),
  )
  best = "bleu"
  next_programs = (
    "trainers.translation.translate",
    "trainers.translation.export",
    "tensorboard.main",
  )
  compiled_fields = {"global_batch_tokens": 512}
  diverging_fields = {"learning_rate.peak": 1e38, "learning_rate.warmup": 0}
  learning_fields = small_run.WITHOUT_DROPOUT | {"learning_rate.warmup": 1}
  equal_fields = small_run.WITHOUT_DROPOUT | {"final_weights": "last"}
  weights_tolerance = {"rtol": 1e-3, "atol": 1e-4}
  metrics_tolerance = {"rtol": 1e-3, "atol": 1e-3}
  mistakes = (
    ({"global_batch_tokens": 250}, 1, "global_batch_tokens=250 .*of 32"),
    ({"global_batch_tokens": 96}, 2, "global_batch_tokens=96 .*of 64"),
    ({"jit_compile": True}, 2, "jit_compile=True cannot"),
    ({"model.num_heads": 3}, 1, "even multiple of model.num_heads"),
    ({"model.dropout": 1.0}, 1, r"model.dropout must be in \[0, 1\)"),
    ({"num_steps": 0}, 1, "num_steps must be positive"),
    (
      {"average_checkpoints": 3, "final_weights": "average"},
      1,
      "average_checkpoints=3 is more than the 2 .*checkpoint_every_steps",
    ),
    ({"final_weights": "first"}, 1, "final_weights must be one of"),
    ({"final_weights": "average"}, 1, "average_checkpoints of 2 or more"),
    ({"learning_rate.schedule": "linear"}, 1, "Received: 'linear'"),
    ({"learning_rate.unit": "epochs"}, 1, "learning_rate.unit .*'epochs'"),
    ({"learning_rate.warmup": -1}, 1, "learning_rate.warmup .*-1"),
    ({"learning_rate.decay_at": (0,)}, 1, "learning_rate.decay_at"),
    ({"vocabulary.kind": "wordpiece"}, 1, "vocabulary.kind must be one of"),
    ({"vocabulary.character_coverage": 0.5}, 1, r"in \[0.98, 1\].*: 0.5"),
    ({"vocabulary.size": -1}, 1, "vocabulary.size must be positive"),
    ({"optimizer.name": "adan"}, 1, "optimizer.name must be"),
    ({"data.train_source": "none"}, 1, "none is not a file"),
    ({"data.validation_fraction": 1.0}, 1, "above 0 and below 1, or None"),
  )

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.data_dir = os.path.join(cls.get_temp_dir(cls()), "text")
    small_run.write_text(cls.data_dir)

  @classmethod
  def make_config(cls, **fields):
    return small_run.config(**fields)

  @parameterized.parameters(
    (
      {"global_batch_tokens": 2**20},
      r"global_batch_tokens=1048576 .*try --config.global_batch_tokens=\d+$",
    ),
    ({"vocabulary.size": 10**6}, "vocabulary.size=1000000 is more than"),
  )
  def test_what_the_text_does_not_support(self, fields, message):
    with self.assertRaisesRegex(UserError, message):
      self.train(self.make_config(**fields), self.workdir)
    self.assertFalse(os.path.exists(os.path.join(self.workdir, "config.json")))

  def test_final_translations_and_their_score(self):
    with open(os.path.join(self.finished(), "results.json")) as file:
      results = json.load(file)
    self.assertEqual(results["weights"], "last, step 8")
    with open(os.path.join(self.finished(), "test.translations")) as file:
      translations = file.read().split("\n")[:-1]
    references = [target for _, target in small_run.splits()["test"]]
    score, signature = scoring.Bleu()(translations, references)
    self.assertEqual((results["split"], results["sentences"]), ("test", 12))
    self.assertEqual(results["bleu"], score)
    self.assertEqual(results["signature"], signature)

  def test_text_that_changed(self):
    data_dir = shutil.copytree(
      self.data_dir, os.path.join(self.get_temp_dir(), self.id(), "text")
    )
    path = os.path.join(data_dir, self.make_config().data.validation_target)
    with open(path) as file:
      first, *rest = file.read().splitlines(keepends=True)
    with open(path, "w") as file:
      file.writelines([first.upper(), *rest])
    with self.assertRaisesRegex(
      UserError, "data has changed .*source.validation.fingerprint"
    ):
      self.train(
        self.make_config(**self.equal_fields),
        self.finished(),
        data_dir=data_dir,
      )

  def test_starting_from_a_run_of_another_size(self):
    config = self.make_config(**{"model.d_ff": 24})
    with self.assertRaisesRegex(UserError, "another model: model.d_ff is"):
      self.train(config, self.workdir, init_from=self.finished())

  def test_learns(self):
    config = small_run.config(
      **{
        "num_steps": 60,
        "steps_per_loop": 20,
        "eval_every_steps": 60,
        "checkpoint_every_steps": 60,
        "learning_rate.peak": 0.01,
        "learning_rate.warmup": 10,
        "learning_rate.decay_at": (10,),
      }
    )
    lines = self.train(config, self.workdir)
    self.assertLess(lines[-1]["train/loss"], 0.8 * lines[0]["train/loss"])
    self.assertLess(lines[-1]["eval/loss"], 4.5)  # ln 400 is 6.

  def test_what_is_wrong_with_the_test_set_is_told_before_training(self):
    unreadable = UserError("wmt cannot be read")

    def read():
      raise unreadable

    load = sources.load

    def load_with_that_test_set(*arguments):
      source = load(*arguments)
      test = dataclasses.replace(source.test, read=read)
      return dataclasses.replace(source, test=test)

    with (
      mock.patch.object(sources, "load", load_with_that_test_set),
      self.assertRaisesRegex(UserError, "wmt cannot be read"),
    ):
      self.train(self.make_config(), self.workdir)
    self.assertFalse(os.path.exists(os.path.join(self.workdir, "checkpoints")))

  @parameterized.parameters("ja", "two words")
  def test_scores_of_text_without_spaces_and_of_short_lines(self, target):
    splits = unspaced_text.splits(target)
    data_dir = os.path.join(self.get_temp_dir(), self.id(), "text")
    small_run.write_text(data_dir, splits)
    right = dict([*splits["validation"], *splits["test"]])
    wrong = dict(zip(right, [*list(right.values())[1:], ""]))
    # First translations of other sentences, then right ones.
    answers = itertools.chain([wrong], itertools.repeat(right))

    def translate(_, sentences):
      answer = next(answers)
      return [answer[sentence] for sentence in sentences]

    output = io.StringIO()
    with (
      mock.patch.object(Translator, "__call__", translate),
      contextlib.redirect_stdout(output),
    ):
      lines = self.train(
        self.make_config(
          **{
            "eval_every_steps": 2,
            "data.max_length": 64,
            "vocabulary.size": 66,
            "vocabulary.byte_fallback": False,
          }
        ),
        self.workdir,
        data_dir=data_dir,
      )
    with open(os.path.join(self.workdir, "results.json")) as file:
      results = json.load(file)
    first, *scores = (line["eval/bleu"] for line in lines)
    self.assertBetween(first, 1, 90)
    self.assertAllClose([*scores, results["bleu"]], [100.0] * 4)
    # Of those with 100 the one that was trained for longest.
    self.assertEqual(results["weights"], "best, step 8")
    self.assertIn(unspaced_text.TARGETS[target].signature, results["signature"])
    # It was said before the first evaluation.
    note, rest = output.getvalue().split("after step 2: ", maxsplit=1)
    self.assertRegex(note, unspaced_text.TARGETS[target].note)
    self.assertRegex(rest, r"test BLEU +100.00 \(best, step 8\) nrefs")

  def test_scores_of_one_run_are_computed_in_one_way(self):
    shutil.copytree(self.finished(), self.workdir)
    path = os.path.join(self.workdir, "scoring.json")
    with open(path) as file:
      record = json.load(file)
    usual = {"tokenizer": "13a", "effective_order": False}
    self.assertEqual(record, {"evaluation": usual, "final": usual})
    record["final"]["tokenizer"] = "char"
    with open(path, "w") as file:
      json.dump(record, file)
    with self.assertRaisesRegex(
      UserError, "scoring.final.tokenizer: 'char' -> '13a'"
    ):
      self.train(self.make_config(**self.equal_fields), self.workdir)


if __name__ == "__main__":
  tf.test.main()
