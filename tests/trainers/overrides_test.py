"""Overrides of fields, of the optimizer's arguments and of Lookahead."""

import tensorflow as tf
from absl.testing import parameterized

from tests.trainers import command_line
from trainers import config_files, experiment, overrides
from trainers.errors import UserError
from trainers.overrides import Override

_CONFIGS = command_line.ROOT / "configs"


def _load(words):
  return config_files.load(f"{_CONFIGS}/{words}")


def _override(config, *arguments):
  _, given = overrides.take_overrides(arguments)
  return overrides.override(config, given)


class TakeOverridesTest(tf.test.TestCase):
  def test_each_form(self):
    others, given = overrides.take_overrides(
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
      given,
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

  def test_nt_asgd_has_the_arguments_of_sgd_and_a_patience(self):
    config = _load("pydoc.py:adam")
    notes = _override(
      config,
      "--config.optimizer.name=nt_asgd",
      "--config.optimizer.arguments.patience=3",
      "--config.optimizer.arguments.momentum=.5",
    )
    self.assertEqual(
      config.optimizer.arguments.to_dict(),
      {
        "global_clipnorm": 0.25,
        "weight_decay": 1.2e-6,
        "patience": 3,
        "momentum": 0.5,
      },
    )
    (note,) = notes
    self.assertIn("learning_rate.peak stays", note)
    experiment.check_optimizer(config)
    (note, _) = _override(config, "--config.optimizer.name=sgd")
    self.assertIn("optimizer.arguments.patience=3", note)
    experiment.check_optimizer(config)
    # These are what the optimizer sets by itself.
    _override(config, "--config.optimizer.name=nt_asgd")
    _override(config, "--config.optimizer.arguments.use_ema=false")
    with self.assertRaisesRegex(UserError, "nt_asgd has no argument 'use_ema'"):
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
      self.assertEqual(overrides.suggest(name, config), field)


if __name__ == "__main__":
  tf.test.main()
