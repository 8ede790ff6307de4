"""Saved in any phase of a period, training goes on bit for bit."""

import copy
import functools
import pickle
import subprocess
import sys

import h5py
import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import lookahead_tf
from lookahead_tf import Lookahead, inner_state
from tests.lookahead_tf.small_model import make, state, train, values
from tests.lookahead_tf.test_case import TestCase

K = 3


KINDS = {
  "maintain": lambda inner: Lookahead(inner, K, 0.8, exclude="bias"),
  "interpolate": lambda inner: Lookahead(
    inner, K, 0.8, inner_state="interpolate", exclude="bias"
  ),
  "reset": lambda inner: Lookahead(
    inner, K, 0.8, inner_state="reset", exclude="bias"
  ),
  "momentum": lambda inner: lookahead_tf.snoo(inner, K, exclude="bias"),
  "outer_adam": lambda inner: Lookahead(
    inner, K, outer_optimizer=keras.optimizers.Adam(0.1), pull_back=0.4
  ),
  "every_step": lookahead_tf.gpa,
}
# Each phase of a period for those of the inner state, one for the others: their
# state is saved in the same way.
PHASES = [
  (kind, first_steps)
  for kind in KINDS
  for first_steps in ([3, 4, 5] if kind in inner_state.RULES else [4])
]


def _model(kind="maintain", **arguments):
  return make(KINDS[kind](keras.optimizers.Adam(0.05)), **arguments)


@functools.cache
def _trained(kind, steps):
  """Returns a model that made so many steps; it is not to be changed."""
  model = _model(kind)
  train(model, 0, steps)
  return model


@functools.cache
def _states(kind):
  """Returns the state after each step of a model that is never moved."""
  model, states = _model(kind), []
  for step in range(10):
    train(model, step, step + 1)
    states.append(state(model))
  return states


def _reversed(variables):
  """Other values of the same shapes."""
  for variable in variables:
    variable.assign(np.flip(np.array(variable)) + 1)


class SavingTest(TestCase):
  def assertContinuesBitForBit(self, kind, first_steps, move):
    """Compares 2n steps with n steps, a move to another model, n steps."""
    model, states = _trained(kind, first_steps), _states(kind)
    moved = move(model)
    for each in (model, moved):
      self.assertSame(state(each), states[first_steps - 1])
    train(moved, first_steps, 2 * first_steps)
    self.assertSame(state(moved), states[2 * first_steps - 1])

  @parameterized.parameters(*PHASES)
  def test_keras_file(self, kind, first_steps):
    path = self.new_path("model.keras")

    def move(model):
      model.save(path)
      return keras.models.load_model(path)

    self.assertContinuesBitForBit(kind, first_steps, move)

  @parameterized.product(phase=PHASES, build_first=[False, True])
  def test_tf_checkpoint(self, phase, build_first):
    kind, first_steps = phase
    path = self.new_path("checkpoint")

    def move(model):
      saved = tf.train.Checkpoint(model=model, optimizer=model.optimizer)
      moved = _model(kind, seed=2, build_optimizer=build_first)
      if build_first:
        _reversed(moved.optimizer.variables)
      checkpoint = tf.train.Checkpoint(model=moved, optimizer=moved.optimizer)
      status = checkpoint.restore(saved.save(path))
      if not build_first:
        moved.optimizer.build(moved.trainable_variables)
      status.assert_consumed()
      return moved

    self.assertContinuesBitForBit(kind, first_steps, move)

  def test_reset_after_a_restore_before_the_build(self):
    # What the restore put into the slots is not their initial value.
    path = self.new_path("reset")
    model = _trained("reset", 2)
    moved = _model("reset", build_optimizer=False)
    checkpoint = tf.train.Checkpoint(model=moved, optimizer=moved.optimizer)
    checkpoint.restore(
      tf.train.Checkpoint(model=model, optimizer=model.optimizer).save(path)
    )
    train(moved, 2, 3)
    kernel_momentum = moved.optimizer.inner_optimizer._momentums[0]
    self.assertAllEqual(kernel_momentum, np.zeros(kernel_momentum.shape))

  @parameterized.parameters(
    ("maintain", 3), ("maintain", 4), ("momentum", 4), ("outer_adam", 4)
  )
  def test_weights_file(self, kind, first_steps):
    path = self.new_path("model.weights.h5")

    def move(model):
      model.save_weights(path)
      moved = _model(kind, seed=2)
      moved.load_weights(path)
      return moved

    self.assertContinuesBitForBit(kind, first_steps, move)

  @parameterized.parameters("maintain", "outer_adam")
  def test_set_weights(self, kind):
    def move(model):
      moved = _model(kind, seed=2)
      moved.set_weights(model.get_weights())
      moved.optimizer.set_weights(values(model.optimizer.variables))
      return moved

    self.assertContinuesBitForBit(kind, 4, move)

  @parameterized.product(
    copy_model=[copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))],
    first_steps=[3, 4, 5],
  )
  def test_copies_of_the_model(self, copy_model, first_steps):
    self.assertContinuesBitForBit("interpolate", first_steps, copy_model)

  def test_new_process(self):
    path, weights = self.new_path("half.keras"), self.new_path("weights.npz")
    _trained("interpolate", 4).save(path)
    program = (
      "import keras, numpy, lookahead_tf; "
      "from tests.lookahead_tf import small_model; "
      f"model = keras.models.load_model({path!r}); "
      "small_model.train(model, 4, 8); "
      f"numpy.savez({weights!r}, *small_model.state(model))"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    with np.load(weights) as found:
      self.assertSame(list(found.values()), _states("interpolate")[7])

  @parameterized.parameters("interpolate", "momentum", "outer_adam")
  def test_each_variable_is_stored_once(self, kind):
    path = self.new_path("model.weights.h5")
    model = _model(kind)
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

  @parameterized.parameters("interpolate", "momentum")
  def test_state_of_another_configuration_is_refused_with_a_warning(self, kind):
    path = self.new_path("model.weights.h5")
    _model().save_weights(path)
    other = _model(kind)
    with self.assertWarnsRegex(UserWarning, f"'{other.optimizer.name}'"):
      other.load_weights(path)

  def test_wrong_number_of_weights(self):
    optimizer = _model().optimizer
    weights = values(optimizer.variables)
    with self.assertRaisesRegex(ValueError, rf"`weights`.*{len(weights)}.*3"):
      optimizer.set_weights(weights[:3])

  def test_weights_of_an_optimizer_that_is_not_built(self):
    optimizer = Lookahead(keras.optimizers.Adam())
    for weights in ([], values(optimizer.variables), [np.zeros(3)]):
      with self.assertRaisesRegex(ValueError, "not yet been built"):
        optimizer.set_weights(weights)


if __name__ == "__main__":
  tf.test.main()
