import contextlib
import dataclasses
import io
import itertools
import json
import os
from unittest import mock

import tensorflow as tf
from absl.testing import parameterized

from tests import replicas
from tests.trainers.translation import small_run, unspaced_text
from trainers import metrics
from trainers.devices import Runtime
from trainers.errors import UserError
from trainers.experiment import without_lookahead
from trainers.tpu import program
from trainers.translation import (
  experiment,
  scoring,
  sources,
  train,
  vocabulary,
)
from trainers.translation.translator import Translator


class TrainTest(tf.test.TestCase, parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.data_dir = os.path.join(cls.get_temp_dir(cls()), "text")
    small_run.write_text(cls.data_dir)

  def setUp(self):
    super().setUp()
    self.workdir = os.path.join(
      self.get_temp_dir(), self.id().split()[0], "run"
    )

  def _train(self, config, workdir=None, strategy=None):
    workdir = workdir or self.workdir
    strategy = strategy or tf.distribute.OneDeviceStrategy("CPU:0")
    run = Runtime(strategy, workdir, self.data_dir)
    train.train(experiment.load(config, run), run)
    return metrics.read(workdir)

  def _weights(self, workdir):
    reader = tf.train.load_checkpoint(
      os.path.join(workdir, "checkpoints", "ckpt-8")
    )
    return {
      name: reader.get_tensor(name)
      for name in reader.get_variable_to_shape_map()
      if reader.get_variable_to_dtype_map()[name] == tf.float32
    }

  def test_two_replicas_equal_one(self):
    config = small_run.config(**small_run.WITHOUT_DROPOUT)
    one = self._train(config, self.workdir + "1")
    two = self._train(config, self.workdir + "2", replicas.mirrored())
    self.assertLen(one, len(two))
    for a, b in zip(one, two):
      for name in a:
        if "per_second" not in name:
          self.assertAllClose(a[name], b[name], rtol=1e-3, atol=1e-3)
    expected = self._weights(self.workdir + "1")
    for name, value in self._weights(self.workdir + "2").items():
      self.assertAllClose(value, expected[name], rtol=1e-3, atol=1e-4)

  def test_resuming_changes_nothing(self):
    config = small_run.config()
    whole = self._train(config, self.workdir + "1")
    self._train(config)
    directory = os.path.join(self.workdir, "checkpoints")
    for name in os.listdir(directory):
      if "8" in name:
        os.remove(os.path.join(directory, name))
    resumed = self._train(config)
    self.assertLen(whole, len(resumed))
    for a, b in zip(whole, resumed):
      self.assertEqual(a["step"], b["step"])
      self.assertAllClose(a["train/loss"], b["train/loss"], rtol=1e-6)
    expected = self._weights(self.workdir + "1")
    for name, value in self._weights(self.workdir).items():
      self.assertAllClose(value, expected[name], rtol=1e-5, atol=1e-6)

  def test_what_it_leaves_in_the_workdir(self):
    lines = self._train(small_run.config(final_weights="last"))
    self.assertCountEqual(
      os.listdir(self.workdir),
      [
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
      ],
    )
    self.assertEqual([line["step"] for line in lines], [2, 4, 6, 8])
    self.assertContainsSubset(
      [
        "train/loss",
        "train/accuracy",
        "train/target_tokens",
        "train/learning_rate",
        "target_tokens_per_second",
        "eval/loss",
        "eval/accuracy",
        "eval/bleu",
      ],
      lines[-1],
    )
    with open(os.path.join(self.workdir, "results.json")) as file:
      results = json.load(file)
    self.assertEqual(results["weights"], "last, step 8")
    with open(os.path.join(self.workdir, "test.translations")) as file:
      translations = file.read().split("\n")[:-1]
    references = [target for _, target in small_run.splits()["test"]]
    score, signature = scoring.Bleu()(translations, references)
    self.assertEqual((results["split"], results["sentences"]), ("test", 12))
    self.assertEqual(results["bleu"], score)
    self.assertEqual(results["signature"], signature)

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
    lines = self._train(config)
    self.assertLess(lines[-1]["train/loss"], 0.8 * lines[0]["train/loss"])
    self.assertLess(lines[-1]["eval/loss"], 4.5)  # ln 400 is 6.

  def test_the_step_that_is_compiled_for_tpus(self):
    config = small_run.config(global_batch_tokens=512)
    strategy = program.CompiledReplicas(8)
    arguments = []
    for one in (config, without_lookahead(config)):
      source = experiment.source_to_compile(one)
      step, spec = train.make_step(
        experiment.unpack(one, source, strategy), strategy
      )
      self.assertEqual({s.shape for s in spec.values()}, {(2, 32)})
      text = program.stablehlo(step, spec, strategy)
      self.assertIn("stablehlo.all_reduce", text)
      head = next(line for line in text.splitlines() if "@main" in line)
      arguments.append(head.count("%arg"))
    # A slow weight for each of 35 parameters, and the counters of Lookahead.
    self.assertBetween(arguments[0] - arguments[1], 35, 35 + 5)

  @parameterized.parameters(
    ({"global_batch_tokens": 250}, "multiple of 32"),
    ({"global_batch_tokens": 2**20}, "is more than the"),
    ({"model.num_heads": 3}, "even multiple of model.num_heads"),
    ({"model.dropout": 1.0}, r"model.dropout must be in \[0, 1\)"),
    ({"num_steps": 0}, "num_steps must be positive"),
    ({"average_checkpoints": 3}, "average_checkpoints=3 is more than the 2"),
    ({"final_weights": "first"}, "final_weights must be one of"),
    ({"final_weights": "average"}, "average_checkpoints of 2 or more"),
    ({"learning_rate.schedule": "linear"}, "Received: 'linear'"),
    ({"learning_rate.unit": "epochs"}, "learning_rate.unit .*'epochs'"),
    ({"learning_rate.warmup": -1}, "learning_rate.warmup .*-1"),
    ({"vocabulary.kind": "wordpiece"}, "vocabulary.kind must be one of"),
    ({"vocabulary.character_coverage": 0.5}, r"in \[0.98, 1\].*: 0.5"),
    ({"vocabulary.size": -1}, "vocabulary.size must be positive"),
    ({"optimizer.name": "adan"}, "optimizer.name must be"),
    ({"vocabulary.size": 10**6}, "vocabulary.size=1000000 is more than"),
    ({"data.train_source": "none"}, "none is not a file"),
  )
  def test_mistakes(self, fields, message):
    with self.assertRaisesRegex(UserError, message):
      self._train(small_run.config(**fields))
    self.assertFalse(os.path.exists(os.path.join(self.workdir, "config.json")))

  def test_a_wrong_optimizer_is_told_before_the_text_is_read(self):
    config = small_run.config(**{"learning_rate.decay_at": (0,)})
    with (
      mock.patch.object(vocabulary, "load_or_train") as load_or_train,
      self.assertRaisesRegex(UserError, "decay_at"),
    ):
      self._train(config)
    load_or_train.assert_not_called()

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
      self._train(small_run.config())
    self.assertFalse(os.path.exists(os.path.join(self.workdir, "checkpoints")))

  @parameterized.parameters(*unspaced_text.TARGETS)
  def test_scores_of_text_without_spaces_and_of_short_lines(self, target):
    splits = unspaced_text.splits(target)
    self.data_dir = os.path.join(self.get_temp_dir(), self.id(), "text")
    small_run.write_text(self.data_dir, splits)
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
      lines = self._train(
        small_run.config(
          **{
            "eval_every_steps": 2,
            "data.max_length": 64,
            "vocabulary.size": 66,
            "vocabulary.byte_fallback": False,
          }
        )
      )
    with open(os.path.join(self.workdir, "results.json")) as file:
      results = json.load(file)
    first, *scores = (line["eval/bleu"] for line in lines)
    self.assertBetween(first, 1, 90)
    self.assertAllClose([*scores, results["bleu"]], [100.0] * 4)
    # Of those with 100 the one that was trained for longest.
    self.assertEqual(results["weights"], "best, step 8")
    self.assertIn(unspaced_text.TARGETS[target].signature, results["signature"])
    # It was said before anything was made of the text.
    note, rest = output.getvalue().split("train: ", maxsplit=1)
    self.assertRegex(note, unspaced_text.TARGETS[target].note)
    self.assertIn("test: BLEU", rest)

  def test_scores_of_one_run_are_computed_in_one_way(self):
    self._train(small_run.config(num_steps=2))
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
      self._train(small_run.config(num_steps=2))

  def test_workdir_of_another_config(self):
    self._train(small_run.config(num_steps=2))
    with self.assertRaisesRegex(UserError, "config.seed: 0 -> 1"):
      self._train(small_run.config(num_steps=2, seed=1))


if __name__ == "__main__":
  tf.test.main()
