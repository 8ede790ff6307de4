"""Saved in any phase of a period, training goes on bit for bit."""

import copy
import os
import pickle
import subprocess
import sys

import h5py
import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from lookahead_tf import Lookahead

K = 3
_rng = np.random.default_rng(0)
X = _rng.normal(size=(80, 6)).astype("float32")
Y = _rng.normal(size=(80, 2)).astype("float32")


def _optimizer(inner_state="maintain"):
  return Lookahead(
    keras.optimizers.Adam(0.05), K, 0.8, inner_state=inner_state, exclude="bias"
  )


def _model(optimizer=None):
  model = keras.Sequential(
    [
      keras.Input((6,)),
      keras.layers.Dense(4, activation="tanh"),
      keras.layers.Dense(2),
    ]
  )
  if optimizer is not None:
    model.compile(optimizer, loss="mse")
  return model


def _train(model, first, last):
  for step in range(first, last):
    model.train_on_batch(X[step * 8 : step * 8 + 8], Y[step * 8 : step * 8 + 8])


def _state(model):
  return [np.array(v) for v in model.variables + model.optimizer.variables]


def _reversed(variables):
  """Other values of the same shapes."""
  for variable in variables:
    variable.assign(np.flip(np.array(variable)) + 1)


class SavingTest(tf.test.TestCase, parameterized.TestCase):
  def assertContinuesBitForBit(self, inner_state, first_steps, move):
    """Compares 2n steps with n steps, a move to another model, n steps."""
    keras.utils.set_random_seed(2)
    model = _model(_optimizer(inner_state))
    _train(model, 0, first_steps)
    moved = move(model)
    self.assertAllEqualLists(_state(moved), _state(model))
    _train(model, first_steps, 2 * first_steps)
    _train(moved, first_steps, 2 * first_steps)
    self.assertAllEqualLists(_state(moved), _state(model))

  def assertAllEqualLists(self, actual, expected):
    self.assertLen(actual, len(expected))
    for a, b in zip(actual, expected):
      self.assertAllEqual(a, b)

  @parameterized.product(
    inner_state=["maintain", "interpolate", "reset"], first_steps=[3, 4, 5]
  )
  def test_keras_file(self, inner_state, first_steps):
    path = os.path.join(self.get_temp_dir(), "model.keras")

    def move(model):
      model.save(path)
      return keras.models.load_model(path)

    self.assertContinuesBitForBit(inner_state, first_steps, move)

  @parameterized.product(
    inner_state=["maintain", "interpolate", "reset"],
    first_steps=[3, 4, 5],
    build_first=[False, True],
  )
  def test_tf_checkpoint(self, inner_state, first_steps, build_first):
    path = os.path.join(self.get_temp_dir(), "checkpoint")

    def move(model):
      saved = tf.train.Checkpoint(model=model, optimizer=model.optimizer)
      moved = _model(_optimizer(inner_state))
      if build_first:
        moved.optimizer.build(moved.trainable_variables)
        _reversed(moved.optimizer.variables)
      checkpoint = tf.train.Checkpoint(model=moved, optimizer=moved.optimizer)
      status = checkpoint.restore(saved.save(path))
      if not build_first:
        moved.optimizer.build(moved.trainable_variables)
      status.assert_consumed()
      return moved

    self.assertContinuesBitForBit(inner_state, first_steps, move)

  def test_reset_after_a_restore_before_the_build(self):
    # What the restore put into the slots is not their initial value.
    path = os.path.join(self.get_temp_dir(), "reset")
    model = _model(_optimizer("reset"))
    _train(model, 0, 2)
    moved = _model(_optimizer("reset"))
    checkpoint = tf.train.Checkpoint(model=moved, optimizer=moved.optimizer)
    checkpoint.restore(
      tf.train.Checkpoint(model=model, optimizer=model.optimizer).save(path)
    )
    _train(moved, 2, 3)
    kernel_momentum = moved.optimizer.inner_optimizer._momentums[0]
    self.assertAllEqual(kernel_momentum, np.zeros(kernel_momentum.shape))

  @parameterized.parameters(3, 4)
  def test_weights_file(self, first_steps):
    path = os.path.join(self.get_temp_dir(), "model.weights.h5")

    def move(model):
      model.save_weights(path)
      moved = _model(_optimizer())
      moved.optimizer.build(moved.trainable_variables)
      moved.load_weights(path)
      return moved

    self.assertContinuesBitForBit("maintain", first_steps, move)

  def test_set_weights(self):
    def move(model):
      moved = _model(_optimizer())
      moved.set_weights(model.get_weights())
      moved.optimizer.build(moved.trainable_variables)
      moved.optimizer.set_weights(
        [np.array(v) for v in model.optimizer.variables]
      )
      return moved

    self.assertContinuesBitForBit("maintain", 4, move)

  @parameterized.product(
    copy_model=[copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))],
    first_steps=[3, 4, 5],
  )
  def test_copies_of_the_model(self, copy_model, first_steps):
    self.assertContinuesBitForBit("interpolate", first_steps, copy_model)

  def test_new_process(self):
    path = os.path.join(self.get_temp_dir(), "half.keras")
    weights = os.path.join(self.get_temp_dir(), "weights.npz")
    keras.utils.set_random_seed(2)
    model = _model(_optimizer("interpolate"))
    _train(model, 0, 4)
    model.save(path)
    _train(model, 4, 8)
    program = (
      "import keras, numpy; from tests.lookahead_tf import saving_test as t; "
      f"m = keras.models.load_model({path!r}); t._train(m, 4, 8); "
      f"numpy.savez({weights!r}, *t._state(m))"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    with np.load(weights) as found:
      self.assertAllEqualLists(list(found.values()), _state(model))

  def test_each_variable_is_stored_once(self):
    path = os.path.join(self.get_temp_dir(), "model.weights.h5")
    model = _model(_optimizer("interpolate"))
    _train(model, 0, 4)
    model.save_weights(path)
    stored = []
    with h5py.File(path) as file:
      file.visititems(
        lambda name, value: (
          stored.append(name) if isinstance(value, h5py.Dataset) else None
        )
      )
    self.assertLen(
      stored, len(model.variables) + len(model.optimizer.variables)
    )

  def test_state_of_another_configuration_is_refused_with_a_warning(self):
    path = os.path.join(self.get_temp_dir(), "model.weights.h5")
    model = _model(_optimizer())
    _train(model, 0, 1)
    model.save_weights(path)
    other = _model(_optimizer("interpolate"))
    other.optimizer.build(other.trainable_variables)
    with self.assertWarnsRegex(UserWarning, "'lookahead.*' was not loaded"):
      other.load_weights(path)

  def test_wrong_number_of_weights(self):
    model = _model(_optimizer())
    _train(model, 0, 1)
    weights = [np.array(v) for v in model.optimizer.variables]
    message = f"{len(weights)} arrays.*Received: 3"
    with self.assertRaisesRegex(ValueError, message):
      model.optimizer.set_weights(weights[:3])


if __name__ == "__main__":
  tf.test.main()
