import tensorflow as tf
from absl.testing import parameterized

from experiments import trials
from tests.trainers import command_line
from trainers.errors import UserError

_DIGITS = f"{command_line.ROOT}/configs/digits.py"
_PTB = f"{command_line.ROOT}/configs/ptb.py"
_PHRASES = f"{command_line.ROOT}/configs/phrases.py"


class ParseGridTest(tf.test.TestCase, parameterized.TestCase):
  def test_fields_and_values(self):
    self.assertEqual(
      trials.parse_grid(
        [
          "learning_rate.peak=0.1, 0.3",
          "learning_rate.decay_at=(1.0,2.0),(3.0,)",
          "model.blocks_per_stage=[1,1],[2,2]",
          "data.name=digits",
        ]
      ),
      {
        "learning_rate.peak": ["0.1", "0.3"],
        "learning_rate.decay_at": ["(1.0,2.0)", "(3.0,)"],
        "model.blocks_per_stage": ["[1,1]", "[2,2]"],
        "data.name": ["digits"],
      },
    )

  @parameterized.parameters(
    (["learning_rate.peak="], "--grid=learning_rate.peak= must be"),
    (["learning_rate.peak"], "--grid=learning_rate.peak must be"),
    (["=0.1"], "--grid==0.1 must be"),
    ([""], "--grid= must be"),
    (["num_epochs=1,,2"], "--grid=num_epochs=1,,2 must be"),
    (["seed=0,1"], "--seeds"),
    (["num_epochs=1", "num_epochs=2"], "num_epochs has an axis already"),
  )
  def test_a_mistake_is_named(self, texts, message):
    with self.assertRaises(UserError) as context:
      trials.parse_grid(texts)
    self.assertIn(message, str(context.exception))


class MakeTest(tf.test.TestCase, parameterized.TestCase):
  def test_all_combinations_in_order(self):
    made = trials.make(
      "image_classification",
      [f"{_DIGITS}:sgd", f"{_DIGITS}:lookahead"],
      {"learning_rate.peak": ["1e-1", "3"], "global_batch_size": ["32"]},
      seeds=2,
      overrides=["num_epochs=2", "learning_rate.peak=7"],
    )
    self.assertLen(made, 8)
    self.assertEqual(
      [trial.name for trial in made[:3]],
      [
        "digits_sgd/learning_rate.peak=0.1/global_batch_size=32/seed_0",
        "digits_sgd/learning_rate.peak=0.1/global_batch_size=32/seed_1",
        "digits_sgd/learning_rate.peak=3.0/global_batch_size=32/seed_0",
      ],
    )
    last = made[-1]
    self.assertEqual(
      last.values,
      {
        "config": "digits_lookahead",
        "learning_rate.peak": 3.0,
        "global_batch_size": 32,
      },
    )
    self.assertEqual(last.config.learning_rate.peak, 3.0)
    self.assertEqual(last.config.num_epochs, 2.0)
    self.assertEqual((last.seed, last.config.seed), (1, 1))
    self.assertEqual(made[0].config.global_batch_size, 32)
    self.assertEqual(last.workdir("/runs"), "/runs/" + last.name)

  def test_a_value_that_is_no_name_of_a_directory(self):
    (trial,) = trials.make(
      "image_classification", [_DIGITS], {"data.train_split": ["a/b *[1]"]}
    )
    self.assertEqual(trial.name, "digits/data.train_split=a_b_1_/seed_0")
    self.assertEqual(trial.config.data.train_split, "a/b *[1]")

  @parameterized.parameters(
    ("image_classification", _DIGITS),
    ("language_modeling", _PTB),
    ("translation", _PHRASES),
  )
  def test_each_trainer_refuses_what_it_cannot_train_with(self, kind, path):
    with self.assertRaises(UserError) as context:
      trials.make(kind, [path], {"learning_rate.peak": ["0.1", "-1"]})
    message = str(context.exception)
    self.assertStartsWith(message, f"--config={path} --grid=learning_rate.peak")
    self.assertIn("must be positive. Received: -1", message)

  @parameterized.parameters(
    ({"learning_rate.peek": ["1"]}, "Did you mean --grid=learning_rate.peak?"),
    ({"num_epochs": ["x"]}, "num_epochs must be a number"),
    ({"num_epochs": ["1 2"]}, "--grid=num_epochs=1 2 Commas separate"),
    ({"num_epochs": ["[1,2]"]}, "--grid=num_epochs=[1,2] Commas separate"),
    ({"lookahead.slow_step_size": ["2"]}, "slow_step_size"),
    ({"optimizer.arguments.momentum": ["2"]}, "momentum"),
    ({"learning_rate": ["1"]}, "group of fields"),
    ({"num_epochs": ["1", "1.0"]}, "Two trials are the same: digits/num_epo"),
  )
  def test_a_mistake_is_named(self, axes, message):
    with self.assertRaises(UserError) as context:
      trials.make("image_classification", [_DIGITS], axes)
    self.assertIn(message, str(context.exception))

  def test_a_field_that_makes_two_configs_equal(self):
    configs = [f"{_DIGITS}:sgd", f"{_DIGITS}:lookahead"]
    axes = {"lookahead.sync_period": ["5", "10"]}
    with self.assertRaises(UserError) as context:
      trials.make("image_classification", configs, axes)
    self.assertContainsInOrder(
      ["digits_sgd/", "digits_lookahead/"], str(context.exception)
    )

  def test_what_a_grid_changes_beside_its_fields(self):
    (note,) = trials.notes(
      [f"{_DIGITS}:sgd", f"{_DIGITS}:lookahead"],
      {"lookahead.sync_period": ["5", "10"], "num_epochs": ["1", "2"]},
    )
    self.assertIn("--grid=lookahead.sync_period adds Lookahead", note)
    self.assertIn("digits_sgd", note)
    optimizers = {"optimizer.name": ["sgd", "adam"]}
    text = "\n".join(trials.notes([f"{_DIGITS}:sgd"], optimizers))
    self.assertIn("learning_rate.peak stays 0.1", text)
    rates = {"learning_rate.peak": ["0.001", "0.01"]}
    text = "\n".join(trials.notes([f"{_DIGITS}:sgd"], optimizers | rates))
    self.assertNotIn("stays", text)

  def test_a_config_of_another_trainer(self):
    with self.assertRaises(UserError) as context:
      trials.make("translation", [_DIGITS], {})
    self.assertIn("another trainer's", str(context.exception))


class LoadConfigTest(tf.test.TestCase):
  def test_names(self):
    for reference, name in (
      ("configs/multi30k.py:no_warmup, adam", "multi30k_adam_no_warmup"),
      ("a/b/digits.py", "digits"),
      ("digits.py:", "digits"),
    ):
      self.assertEqual(trials.name_of(reference), name)

  def test_overrides(self):
    config, notes = trials.load_config(
      f"{command_line.ROOT}/configs/wmt14.py:base,adam",
      [
        "data.test_split=none",
        "eval_sentences=None",
        "num_steps=7",
        "lookahead.sync_period=3",
      ],
    )
    self.assertIsNone(config.data.test_split)
    self.assertIsNone(config.eval_sentences)
    self.assertEqual(config.num_steps, 7)
    self.assertEqual(config.lookahead.sync_period, 3)
    self.assertLen(notes, 1)


if __name__ == "__main__":
  tf.test.main()
