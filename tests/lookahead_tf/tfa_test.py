"""Against checkpoints that TensorFlow Addons wrote: tfa_checkpoints/make.py."""

import pathlib

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from lookahead_tf import Lookahead, load_tfa_checkpoint, lookahead_from_tfa
from tests.lookahead_tf.small_model import values
from tests.lookahead_tf.test_case import TestCase

FILES = pathlib.Path(__file__).parent / "tfa_checkpoints"
EXPECTED = dict(np.load(FILES / "expected.npz"))
INNER = {
  "sgd": lambda: keras.optimizers.SGD(0.01, momentum=0.9),
  "adam": lambda: keras.optimizers.Adam(0.01),
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
  @parameterized.product(case=["sgd", "adam"], file=["ckpt-1", "weights"])
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
    self.assertNear(model.weights, _expected(case, "after"))

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
  )
  def test_what_does_not_fit_is_not_loaded(self, case, make, message):
    model = make()
    before = values(model.weights)
    with self.assertRaisesRegex(ValueError, message):
      load_tfa_checkpoint(str(FILES / case / "ckpt-1"), model)
    self.assertSame(model.weights, before)

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
    config = {"class_name": "RectifiedAdam", "config": {}}
    with self.assertRaisesRegex(ValueError, "RectifiedAdam"):
      lookahead_from_tfa(config)


if __name__ == "__main__":
  tf.test.main()
