"""Config files, of the repository and of one's own, and overrides."""

import os
import pathlib

import ml_collections
import tensorflow as tf
from absl.testing import parameterized

from tests.trainers import command_line
from trainers import config_files, experiment
from trainers.config_files import Override
from trainers.errors import UserError

_CONFIGS = command_line.ROOT / "configs"
_OWN = """
from configs import image_folder

def get_config():
  config = image_folder.get_config("sgd")
  config.num_epochs = 3
  return config
"""


def _load(words):
  return config_files.load(f"{_CONFIGS}/{words}")


def _override(config, *arguments):
  _, overrides = config_files.take_overrides(arguments)
  return config_files.override(config, overrides)


class LoadTest(tf.test.TestCase, parameterized.TestCase):
  def _write(self, text):
    folder = pathlib.Path(self.get_temp_dir(), self.id().split()[0])
    folder.mkdir(exist_ok=True)
    path = folder / "own.py"
    path.write_text(text)
    return str(path)

  def test_a_config_of_ones_own(self):
    config = config_files.load(self._write(_OWN))
    self.assertEqual(config.num_epochs, 3.0)
    self.assertTrue(config.is_locked)

  @parameterized.parameters(
    ("num_epochs = 3", "num_epoch = 3", "line 6: .*'num_epoch'.*'num_epochs'"),
    ("num_epochs = 3", "num_epochs = 'a'", "line 6: .*'num_epochs'"),
    ("num_epochs = 3", "num_epochs = three", "line 6: NameError: .*'three'"),
    ("num_epochs", "data.image_sise", "line 6: .*'image_sise'.*'image_size'"),
    ('"sgd")', '"sgd"', "line 5: this is not Python"),
    ('"sgd"', '"sdg"', "'sdg' is not a word"),
    ("import image_folder", "import image", "line 2: ImportError"),
    ("def get_config", "def config", "no function get_config"),
    ("return config", "return {'seed': 3}", "ConfigDict.*Received: {'seed': 3"),
    ("return config", "", "ConfigDict.*Received: None"),
    ("():", "(words):", "--config=.*own.py:WORDS"),
    (_OWN, "\0", "own.py.* not Python"),
  )
  def test_mistakes_in_a_config(self, right, wrong, message):
    path = self._write(_OWN.replace(right, wrong))
    with self.assertRaisesRegex(UserError, message) as raised:
      config_files.load(path)
    self.assertIn(path, str(raised.exception))
    self.assertLen(str(raised.exception).splitlines(), 1)

  def test_words_that_a_config_does_not_take(self):
    path = self._write(_OWN)
    with self.assertRaisesRegex(UserError, f"{path}, without words"):
      config_files.load(f"{path}:sgd")

  def test_files_that_are_not_there(self):
    before = os.getcwd()
    self.addCleanup(os.chdir, before)
    os.chdir(self.get_temp_dir())
    for reference, named in (
      ("configs/digits.py:sgd", (os.getcwd(), f"{_CONFIGS}/digits.py")),
      ("own.py", ("own.py", os.getcwd(), str(_CONFIGS))),
      (f"{_CONFIGS}/digit.py", (f"{_CONFIGS}/digits.py",)),
      (str(_CONFIGS), ("is a directory",)),
      ("", ("(no name)",)),
    ):
      with self.assertRaises(UserError) as raised:
        config_files.load(reference)
      for name in named:
        self.assertIn(name, str(raised.exception))

  def test_fields_that_a_trainer_misses(self):
    config = ml_collections.ConfigDict({"data": {"name": "digits"}})
    for read in (
      lambda: config.data.size,
      lambda: config["data"]["size"],
      lambda: experiment.check_ranges(
        config, [("data.size", *experiment.POSITIVE)]
      ),
    ):
      with (
        self.assertRaisesRegex(UserError, "no field 'size'"),
        config_files.explaining_missing_fields(),
      ):
        read()
    for error in (AttributeError, KeyError):  # Of the program itself.
      with (
        self.assertRaises(error),
        config_files.explaining_missing_fields(),
      ):
        raise error("size")


class TakeOverridesTest(tf.test.TestCase):
  def test_each_form(self):
    others, overrides = config_files.take_overrides(
      [
        "program",
        "--config.a.b=1=2",
        "--config=c",
        "-config.d",
        "e",
        "--config.f",
        "--seed",
        "3",
        "--config.g=",
        "--",
        "--config.h=1",
      ]
    )
    self.assertEqual(
      others,
      ["program", "--config=c", "--seed", "3", "--", "--config.h=1"],
    )
    self.assertEqual(
      overrides,
      [
        Override("a.b", "1=2"),
        Override("d", "e"),
        Override("f", None),
        Override("g", ""),
      ],
    )


class OverrideTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.parameters(
    ("num_epochs=2", 2.0),
    ("num_epochs=2.5e1", 25.0),
    ("global_batch_size=1e3", 1000),
    ("global_batch_size=32", 32),
    ("data.shuffle_buffer=1_000", 1000),
    ("data.name=a b", "a b"),
    ("data.horizontal_flip", True),
    ("data.horizontal_flip=false", False),
    ("data.mean=.5", (0.5,)),
    ("data.mean=(.5,.25)", (0.5, 0.25)),
    ("model.blocks_per_stage=2,2", (2, 2)),
    ("model.blocks_per_stage=[1e0,2]", (1, 2)),
    ("learning_rate.decay_at=(3,6)", (3, 6)),
    ("lookahead.sync_period=1e1", 10),
    ("lookahead.slow_step_size=.8", 0.8),
    ("lookahead.exclude=bias$", ("bias$",)),
    ("lookahead.slow_dtype=float64", "float64"),
    ("lookahead=None", None),
    ("optimizer.arguments.weight_decay=.05", 0.05),
    ("optimizer.arguments.momentum=0", 0.0),
    ("optimizer.arguments.nesterov=true", True),
    ("optimizer.arguments.clipnorm=None", None),
  )
  def test_values(self, argument, value):
    config = _load("digits.py:lookahead")
    _override(config, f"--config.{argument}")
    found = config
    for name in argument.partition("=")[0].split("."):
      found = found[name]
    self.assertEqual(found, value)
    self.assertIs(type(found), type(value))
    self.assertTrue(config.is_locked)
    experiment.check_optimizer(config)

  @parameterized.parameters(
    ("num_epochs=three", "num_epochs must be a number"),
    ("num_epochs=inf", "num_epochs must be a number"),
    ("num_epochs=", "num_epochs must be a number"),
    ("num_epochs", "--config.num_epochs=VALUE"),
    ("global_batch_size=1.5", "global_batch_size must be a whole number"),
    ("global_batch_size=1e999", "global_batch_size must be a whole number"),
    ("data.horizontal_flip=maybe", "must be true or false"),
    ("data.mean=a", r"data.mean must be a tuple such as \(0.305,\)"),
    ("model.blocks_per_stage=(2,2", r"a tuple such as \(1, 1, 1\)"),
    ("model.blocks_per_stage=1.5", r"a tuple such as \(1, 1, 1\)"),
    ("num_epoch=4", "no field 'num_epoch'. Did you mean --config.num_epochs"),
    ("image_size=4", "Did you mean --config.data.image_size"),
    ("lr=4", "Did you mean --config.learning_rate.peak"),
    ("typo=4", "no field 'typo'.$"),
    ("num_epochs.x=4", "no field 'num_epochs.x'"),
    ("=4", "no field ''"),
    ("learning_rate=.1", "group of fields.*--config.learning_rate.peak=VALUE"),
    ("data=digits", "group of fields, .*image_size"),
    ("lookahead=5", "--config.lookahead.sync_period=5"),
    ("lookahead.sync_period=three", "sync_period must be a whole number"),
    ("optimizer.arguments.nesterov=2", "nesterov must be true or false"),
    ("optimizer.name=adaw", "'adaw'"),
    ("optimizer.name=optimizer", "one of adadelta, .*'optimizer'"),
  )
  def test_mistakes(self, argument, message):
    config = _load("digits.py:sgd")
    with self.assertRaisesRegex(UserError, message) as raised:
      _override(config, f"--config.{argument}")
    self.assertIn(argument.partition("=")[2], str(raised.exception))
    self.assertLen(str(raised.exception).splitlines(), 1)

  @parameterized.parameters(
    ("weight_dcay=.1", "sgd has no argument 'weight_dcay'. .*weight_decay?"),
    ("weight_decay=abc", "weight_decay must be a number. Received: 'abc'"),
    ("learning_rate=.1", "learning_rate.peak"),
  )
  def test_arguments_that_an_optimizer_does_not_have(self, argument, message):
    config = _load("digits.py:sgd")
    _override(config, f"--config.optimizer.arguments.{argument}")
    with self.assertRaisesRegex(UserError, message):
      experiment.check_optimizer(config)

  def test_lookahead_and_no_lookahead(self):
    for words in ("sgd", "lookahead"):
      with self.assertRaisesRegex(UserError, "lookahead=None and .*period=3"):
        _override(
          _load(f"digits.py:{words}"),
          "--config.lookahead.sync_period=3",
          "--config.lookahead=None",
        )

  def test_a_group_without_fields(self):
    config = _load("digits.py:sgd")
    _override(config, "--config.optimizer.name=adamw")
    with self.assertRaisesRegex(UserError, "optimizer.arguments.FIELD=VALUE"):
      _override(config, "--config.optimizer.arguments=3")

  def test_arguments_that_lookahead_does_not_have(self):
    config = _load("digits.py:sgd")
    _override(config, "--config.lookahead.alpha=.5")
    with self.assertRaisesRegex(UserError, "'alpha'.*slow_step_size?"):
      experiment.check_optimizer(config)

  def test_another_optimizer_leaves_the_configs_arguments(self):
    config = _load("digits.py:sgd")
    notes = _override(config, "--config.optimizer.name=adamw")
    self.assertEqual(
      config.optimizer.to_dict(), {"name": "adamw", "arguments": {}}
    )
    self.assertRegex(notes[0], "adamw.*momentum=0.9")
    self.assertRegex(notes[1], "learning_rate.peak stays 0.1.* sgd")
    experiment.check_optimizer(config)

  def test_another_optimizer_keeps_what_it_has_too(self):
    config = _load("phrases.py:adam")
    notes = _override(
      config,
      "--config.optimizer.arguments.weight_decay=.1",
      "--config.optimizer.name=RMSprop",
      "--config.learning_rate.peak=.1",
    )
    self.assertEqual(
      config.optimizer.arguments.to_dict(),
      {"epsilon": 1e-9, "weight_decay": 0.1},
    )
    self.assertLen(notes, 2)  # The two betas.
    experiment.check_optimizer(config)

  def test_what_was_typed_for_another_optimizer_is_refused(self):
    config = _load("digits.py:sgd")
    _override(
      config,
      "--config.optimizer.name=adamw",
      "--config.optimizer.arguments.momentum=.5",
    )
    with self.assertRaisesRegex(UserError, "adamw has no argument 'momentum'"):
      experiment.check_optimizer(config)

  def test_lookahead_is_added(self):
    config = _load("digits.py:sgd")
    (note,) = _override(config, "--config.lookahead.sync_period=7")
    self.assertIn("sync_period=7", note)
    expected = _load("digits.py:lookahead")
    expected.lookahead.sync_period = 7
    self.assertEqual(config.to_dict(), expected.to_dict())

  def test_lookahead_is_taken_away(self):
    config = _load("digits.py:lookahead")
    _override(config, "--config.lookahead=None")
    self.assertEqual(config.to_dict(), _load("digits.py:sgd").to_dict())

  def test_the_last_counts(self):
    config = _load("digits.py:sgd")
    _override(config, "--config.seed=1", "--config.seed=2")
    self.assertEqual(config.seed, 2)


class SuggestTest(tf.test.TestCase):
  def test_names_that_people_type(self):
    config = _load("digits.py:sgd")
    for name, field in (
      ("epochs", "num_epochs"),
      ("batch_size", "global_batch_size"),
      ("learning_rate", "learning_rate.peak"),
      ("optimizer", "optimizer.name"),
      ("weight_decay", "optimizer.arguments.weight_decay"),
      ("momentum", "optimizer.arguments.momentum"),
      ("k", "lookahead.sync_period"),
      ("sync_period", "lookahead.sync_period"),
      ("qwerty", None),
    ):
      self.assertEqual(config_files.suggest(name, config), field)


if __name__ == "__main__":
  tf.test.main()
