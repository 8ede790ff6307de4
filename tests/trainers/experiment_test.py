import keras
import tensorflow as tf
from absl.testing import parameterized
from ml_collections import config_dict

from lookahead_tf import Lookahead
from tests import replicas
from trainers import experiment
from trainers.errors import UserError
from trainers.learning_rates import LearningRate

_RANGES = (
  experiment.SEED,
  ("model.width", *experiment.POSITIVE),
  ("penalty", *experiment.NOT_NEGATIVE),
  ("dropout", *experiment.FRACTION),
)


class RangesTest(tf.test.TestCase, parameterized.TestCase):
  def _check(self, seed=0, width=1, penalty=0.0, dropout=0.0):
    config = config_dict.create(
      seed=seed, model={"width": width}, penalty=penalty, dropout=dropout
    )
    return experiment.check_ranges(config, _RANGES)

  def test_values_in_them(self):
    self.assertIsNone(self._check())
    self.assertIsNone(
      self._check(seed=2**32 - 2, width=8, penalty=1.0, dropout=0.9)
    )

  @parameterized.parameters(
    ({"seed": -1}, "seed must be in .* Received: -1"),
    ({"seed": 2**32 - 1}, "seed must be in .* Received: 4294967295"),
    ({"width": 0}, "model.width must be positive. .* 0"),
    ({"penalty": -1.0}, "penalty must be 0 or more. .* -1.0"),
    ({"dropout": 1.0}, r"dropout must be in \[0, 1\). .* 1.0"),
  )
  def test_values_that_are_not(self, fields, message):
    with self.assertRaisesRegex(UserError, message):
      self._check(**fields)


class PlanTest(tf.test.TestCase):
  def test_steps_in_epochs(self):
    for epochs, steps in ((2.0, 20), (0.25, 3), (0.01, 1)):
      config = config_dict.create(
        global_batch_size=10,
        num_epochs=2.0,
        eval_every_epochs=epochs,
        checkpoint_every_epochs=1.0,
        steps_per_loop=1,
        keep_checkpoints=1,
      )
      plan = experiment.plan_of_epochs(config, steps_per_epoch=10)
      self.assertEqual((plan.steps_per_epoch, plan.total_steps), (10, 20))
      self.assertEqual(plan.eval_every_steps, steps)
      self.assertEqual(plan.checkpoint_every_steps, 10)


class RecordTest(tf.test.TestCase):
  def test_a_run_that_is_older_than_some_fields(self):
    record = {"seed": 3, "data": {"name": "digits", "split_seed": 1}}
    config = experiment.of_record(record)
    self.assertEqual(config.seed, 3)
    self.assertEqual(config.data.split_seed, 1)
    self.assertIsNone(config.data.validation_fraction)

  def test_fields_of_a_trainer(self):
    record = {"data": {}, "model": {"width": 3}}
    newer = {"model.width": 1, "model.depth": 2, "augmentation": "none"}
    config = experiment.of_record(record, newer)
    self.assertEqual((config.model.width, config.model.depth), (3, 2))
    self.assertEqual(config.augmentation, "none")


class JitCompileTest(tf.test.TestCase):
  def test_where_xla_cannot_compile(self):
    one = tf.distribute.OneDeviceStrategy("CPU:0")
    config = config_dict.create(jit_compile=True)
    experiment.check_jit_compile(config, one)
    with self.assertRaisesRegex(UserError, "jit_compile=True .* 2 replicas"):
      experiment.check_jit_compile(config, replicas.mirrored())
    config.jit_compile = False
    experiment.check_jit_compile(config, replicas.mirrored())


def _config(**fields):
  return config_dict.create(
    learning_rate={
      "schedule": "constant",
      "peak": 0.4,
      "unit": "epochs",
      "warmup": 0.0,
      "decay_at": (30.0, 60.0),
      "decay_factor": 0.1,
      "start_factor": 0.0,
      "end_factor": 0.0,
      **fields,
    }
  )


class LearningRateTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.parameters(("epochs", 7), ("steps", 1), ("runs", 70))
  def test_lengths_are_in_their_unit(self, unit, scale):
    config = _config(
      schedule="step", unit=unit, warmup=3.0, decay_at=(5.0, 9.0)
    )
    self.assertEqual(
      experiment.read_learning_rate(config, steps_per_epoch=7, total_steps=70),
      LearningRate(
        schedule="step",
        peak=0.4,
        warmup=3.0 * scale,
        decay_at=(5.0 * scale, 9.0 * scale),
        decay_factor=0.1,
        total_steps=70,
      ),
    )

  @parameterized.parameters(
    ({"schedule": "linear"}, "learning_rate.schedule .*Received: 'linear'"),
    ({"unit": "hours"}, "learning_rate.unit .*Received: 'hours'"),
    ({"peak": -1.0}, "learning_rate.peak .*Received: -1.0"),
    ({"peak": 0.0}, "learning_rate.peak .*Received: 0.0"),
    ({"warmup": -2.0}, "learning_rate.warmup .*Received: -2.0"),
    ({"decay_factor": -3.0}, "learning_rate.decay_factor .*Received: -3.0"),
    ({"end_factor": 1.5}, "learning_rate.end_factor .*Received: 1.5"),
    (
      {"schedule": "step", "decay_at": (60.0, 30.0)},
      r"learning_rate.decay_at .*Received: \(60.0, 30.0\)",
    ),
    (
      {"schedule": "step", "decay_at": ()},
      r"learning_rate.decay_at .*Received: \(\)",
    ),
    (
      {"schedule": "rsqrt", "decay_at": (1.0, 2.0)},
      r"learning_rate.decay_at .*Received: \(1.0, 2.0\)",
    ),
    (
      {"schedule": "rsqrt", "decay_at": (0.0,)},
      r"learning_rate.decay_at .*Received: \(0.0,\)",
    ),
  )
  def test_mistakes(self, fields, message):
    with self.assertRaisesRegex(UserError, message):
      experiment.check_learning_rate(_config(**fields))


class OptimizerTest(tf.test.TestCase):
  def _read(self, config, strategy):
    return experiment.read_optimizer(
      config, LearningRate("constant", 0.1), strategy
    )

  def test_names_and_arguments_come_from_the_config(self):
    config = config_dict.create(
      optimizer={
        "name": "sgd",
        "arguments": {"momentum": 0.9, "clipnorm": 1.0},
      },
      lookahead={"sync_period": 7, "slow_step_size": 0.5},
    )
    one = tf.distribute.OneDeviceStrategy("CPU:0")
    optimizer, clipping = self._read(config, one)
    self.assertIsInstance(optimizer, Lookahead)
    self.assertEqual(optimizer.sync_period, 7)
    self.assertEqual(optimizer.inner_optimizer.momentum, 0.9)
    self.assertEqual(optimizer.inner_optimizer.clipnorm, 1.0)
    self.assertAllClose(optimizer.learning_rate, 0.1)
    given = [tf.constant([3.0])]
    self.assertIs(clipping(given)[0], given[0])  # Keras clips.
    optimizer, _ = self._read(config, replicas.mirrored())
    self.assertIsNone(optimizer.inner_optimizer.clipnorm)  # Clipping clips.

  def test_without_lookahead(self):
    config = config_dict.create(
      optimizer={"name": "adam", "arguments": {}},
      lookahead={"sync_period": 5},
    )
    copy = experiment.without_lookahead(config.lock())
    optimizer, _ = self._read(copy, tf.distribute.get_strategy())
    self.assertIsInstance(optimizer, keras.optimizers.Adam)
    self.assertEqual(config.lookahead.sync_period, 5)


if __name__ == "__main__":
  tf.test.main()
