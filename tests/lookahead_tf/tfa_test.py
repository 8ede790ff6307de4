"""Against checkpoints that TensorFlow Addons wrote: tfa_checkpoints/make.py."""

import pathlib
from unittest import mock

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from lookahead_tf import (
  Lookahead,
  RAdam,
  load_tfa_checkpoint,
  lookahead_from_tfa,
  tfa,
)
from tests.lookahead_tf.small_model import values
from tests.lookahead_tf.test_case import TestCase

FILES = pathlib.Path(__file__).parent / "tfa_checkpoints"
EXPECTED = dict(np.load(FILES / "expected.npz"))
# What RectifiedAdam(...).get_config returned for the case "radam_warmup".
RECTIFIED_ADAM = {
  "module": "tensorflow_addons.optimizers.rectified_adam",
  "class_name": "RectifiedAdam",
  "config": {
    "name": "RectifiedAdam",
    "learning_rate": 0.05,
    "beta_1": 0.9,
    "beta_2": 0.9,
    "decay": 0.0,
    "weight_decay": 0.1,
    "sma_threshold": 5.0,
    "epsilon": 1e-07,
    "amsgrad": True,
    "total_steps": 20,
    "warmup_proportion": 0.4,
    "min_lr": 0.001,
  },
  "registered_name": "Addons>RectifiedAdam",
}
INNER = {
  "sgd": lambda: keras.optimizers.SGD(0.01, momentum=0.9),
  "adam": lambda: keras.optimizers.Adam(0.01),
  "radam": lambda: RAdam(0.01),
  "radam_warmup": lambda: RECTIFIED_ADAM,
}


def _model(inner, units=2, sync_period=3):
  model = keras.Sequential(
    [
      keras.Input((3,)),
      keras.layers.Dense(units, name="hidden"),
      keras.layers.Dense(1, name="out"),
    ]
  )
  model.compile(lookahead_from_tfa(inner, sync_period), loss="mse")
  return model


def _expected(case, moment):
  names = ["hidden/kernel", "hidden/bias", "out/kernel", "out/bias"]
  return [EXPECTED[f"{case}/{moment}/{name}"] for name in names]


class LoadTfaCheckpointTest(TestCase):
  @parameterized.product(case=[*INNER], file=["ckpt-1", "weights"])
  def test_training_goes_on_as_it_did_there(self, case, file):
    model = _model(INNER[case]())
    found = load_tfa_checkpoint(str(FILES / case / file), model)
    self.assertAllClose(found["learning_rate"], 0.05)
    optimizer = model.optimizer
    self.assertSame(model.weights, _expected(case, "before"))
    self.assertSame(optimizer.slow_weights, _expected(case, "slow"))
    self.assertEqual(int(optimizer.iterations), 5)
    for x, y in zip(EXPECTED["x"][5:], EXPECTED["y"][5:]):
      model.train_on_batch(x, y)
    # TensorFlow Addons computes the rectification in float32, which is .2 % off
    # where it begins: see `radam.effective_length`.
    tolerance = 2e-6 if case == "radam" else 1e-6
    self.assertNear(model.weights, _expected(case, "after"), tolerance)

  @parameterized.parameters(
    ("adam", lambda: _model(INNER["sgd"]()), "inner_optimizer=SGD"),
    ("sgd", lambda: _model(keras.optimizers.SGD()), "inner_optimizer=SGD"),
    ("sgd", lambda: _model(INNER["adam"]()), "inner_optimizer=Adam"),
    (
      "adam",
      lambda: _model(keras.optimizers.Adam(amsgrad=True)),
      "velocity_hat",
    ),
    ("adam", lambda: _model(INNER["adam"](), units=5), r"\(2,\) in.*\(5,\) in"),
    ("adam", lambda: _model(keras.optimizers.Lion()), "inner_optimizer=.*Lion"),
    ("radam", lambda: _model(INNER["adam"]()), "an RAdam.*optimizer=.*Adam"),
    ("adam", lambda: _model(RAdam()), "no RectifiedAdam.*optimizer=RAdam"),
    ("radam", lambda: _model(RAdam(amsgrad=True)), "velocity_hat"),
    ("radam_warmup", lambda: _model(RAdam(0.25)), "vhat"),
    (
      "radam_warmup",
      lambda: _model(RAdam(0.25, amsgrad=True)),
      "schedule.*`total_steps`.*=0.25",
    ),
  )
  def test_what_does_not_fit_is_not_loaded(self, case, make, message):
    model = make()
    before = values(model.weights)
    with self.assertRaisesRegex(ValueError, message):
      load_tfa_checkpoint(str(FILES / case / "ckpt-1"), model)
    self.assertSame(model.weights, before)

  def test_a_checkpoint_of_a_schedule_needs_one(self):
    path, model = str(FILES / "adam" / "ckpt-1"), _model(INNER["adam"]())
    found = tfa._read(path)  # TensorFlow Addons saves a rate, or no schedule.
    del found["optimizer/lh_base_optimizer/learning_rate"]
    before = values(model.weights)
    with (
      mock.patch.object(tfa, "_read", return_value=found),
      self.assertRaisesRegex(ValueError, "schedule.*learning_rate=0.01"),
    ):
      load_tfa_checkpoint(path, model)
    self.assertSame(model.weights, before)

  @parameterized.parameters(
    ([keras.optimizers.SGD()], "^load_tfa_checkpoint needs .*Lookahead.*SGD"),
    ([Lookahead("adam"), Lookahead("adam")], "needs .*one Lookahead.*: 2 of"),
  )
  def test_not_one_lookahead(self, optimizers, message):
    path, model = str(FILES / "adam" / "ckpt-1"), _model(INNER["adam"]())
    with self.assertRaisesRegex(ValueError, message):
      load_tfa_checkpoint(path, model, optimizers)

  def test_a_checkpoint_without_lookahead(self):
    saved = tf.train.Checkpoint(x=tf.Variable(1.0))
    path = saved.save(self.new_path("other"))
    with self.assertRaisesRegex(ValueError, f"path='{path}'"):
      load_tfa_checkpoint(path, _model(INNER["adam"]()))


class LookaheadFromTfaTest(TestCase):
  def test_the_defaults_are_those_of_tensorflow_addons(self):
    optimizer = lookahead_from_tfa("adam")
    self.assertIsInstance(optimizer, Lookahead)
    self.assertEqual(optimizer.sync_period, 6)
    self.assertEqual(optimizer.slow_step_size, 0.5)
    self.assertEqual(optimizer.name, "Lookahead")

  def test_its_config(self):
    config = {
      "name": "Lookahead",
      "clipnorm": 1.5,
      "optimizer": {
        "module": "keras.optimizers.legacy",
        "class_name": "Adam",
        "config": {
          "name": "Adam",
          "learning_rate": 0.5,
          "decay": 0.25,
          "beta_1": 0.8,
          "beta_2": 0.9,
          "epsilon": 1e-3,
          "amsgrad": True,
        },
        "registered_name": None,
      },
      "sync_period": 4,
      "slow_step_size": 0.75,
    }
    optimizer = lookahead_from_tfa(**config)
    inner = optimizer.inner_optimizer
    self.assertEqual(inner.clipnorm, 1.5)
    self.assertEqual((inner.beta_1, inner.epsilon), (0.8, 1e-3))
    self.assertTrue(inner.amsgrad)
    inner.iterations.assign(4)
    self.assertAllClose(inner.learning_rate, 0.5 / (1 + 0.25 * 4))

  def test_a_config_of_an_unknown_optimizer(self):
    config = {"class_name": "Addons>Yogi", "config": {}}
    with self.assertRaisesRegex(ValueError, "RectifiedAdam.*'Yogi'"):
      lookahead_from_tfa(config)


class RectifiedAdamTest(TestCase):
  def test_its_config(self):
    radam = lookahead_from_tfa(RECTIFIED_ADAM).inner_optimizer
    self.assertIsInstance(radam, RAdam)
    self.assertEqual((radam.beta_2, radam.epsilon), (0.9, 1e-7))
    self.assertEqual((radam.amsgrad, radam.weight_decay), (True, 0.1))

  def test_the_older_format_without_warmup(self):
    config = RECTIFIED_ADAM["config"] | {"total_steps": 0, "weight_decay": 0.0}
    radam = lookahead_from_tfa(
      {"class_name": "Addons>RectifiedAdam", "config": config}
    ).inner_optimizer
    self.assertAllClose(radam.learning_rate, 0.05)
    self.assertIsNone(radam.weight_decay)

  def test_its_learning_rate(self):
    rate = {"class_name": "ExponentialDecay", "config": {}}
    rate["config"] = {
      "initial_learning_rate": 0.5,
      "decay_steps": 2,
      "decay_rate": 0.5,
    }
    for first in (0.5, rate):
      given = RECTIFIED_ADAM["config"] | {"learning_rate": first}
      optimizer = lookahead_from_tfa(RECTIFIED_ADAM | {"config": given})
      copy = Lookahead.from_config(optimizer.get_config())
      for steps in range(24):
        base = 0.5 if first == 0.5 else 0.5 ** (1 + steps / 2)
        t = steps + 1
        if t <= 8:
          expected = base * t / 8
        else:
          expected = base + (0.001 - base) / 12 * min(t - 8, 12)
        for each in (optimizer, copy):
          each.inner_optimizer.iterations.assign(steps)
          self.assertAllClose(each.learning_rate, expected, 1e-6, 1e-6)

  def test_no_warmup_at_all(self):
    given = RECTIFIED_ADAM["config"] | {"warmup_proportion": 0.0}
    optimizer = lookahead_from_tfa(RECTIFIED_ADAM | {"config": given})
    self.assertAllClose(optimizer.learning_rate, 0.05 - 0.049 / 20)

  def test_a_schedule_of_weight_decay(self):
    config = RECTIFIED_ADAM["config"] | {"weight_decay": {"class_name": "X"}}
    with self.assertRaisesRegex(ValueError, "`weight_decay`.*'X'"):
      lookahead_from_tfa(RECTIFIED_ADAM | {"config": config})


if __name__ == "__main__":
  tf.test.main()
