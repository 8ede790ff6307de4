"""No synchronization drags the model to weights that it no longer has."""

import os

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from lookahead_tf import Lookahead

K = 3
_rng = np.random.default_rng(0)
X = _rng.normal(size=(32, 4)).astype("float32")
Y = _rng.normal(size=(32, 2)).astype("float32")


def _model(optimizer=None, seed=1):
  keras.utils.set_random_seed(seed)
  model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
  if optimizer is not None:
    model.compile(optimizer, loss="mse")
  return model


def _train(model, steps):
  for _ in range(steps):
    model.train_on_batch(X[:8], Y[:8])


def _lookahead():
  return Lookahead(keras.optimizers.SGD(0.1), K, 0.5)


class FollowingTest(tf.test.TestCase, parameterized.TestCase):
  def assertGoesOnFromHere(self, model):
    """The next period is one of Algorithm 1 from the weights of now."""
    phi = model.get_weights()
    other = _model(keras.optimizers.SGD(0.1))
    other.set_weights(phi)
    _train(other, K)
    _train(model, K)
    expected = [p + 0.5 * (t - p) for p, t in zip(phi, other.get_weights())]
    self.assertAllClose(model.get_weights(), expected, 1e-6, 1e-6)

  def _path(self, name):
    return os.path.join(self.get_temp_dir(), name)

  def test_weights_assigned_between_build_and_the_first_step(self):
    model = _model(_lookahead())
    model.optimizer.build(model.trainable_variables)
    model.set_weights([w + 3 for w in model.get_weights()])
    self.assertGoesOnFromHere(model)

  @parameterized.parameters(1, 2, 3, 4)
  def test_weights_assigned_after_fit(self, steps):
    model = _model(_lookahead())
    model.fit(X[: steps * 8], Y[: steps * 8], batch_size=8, verbose=0)
    model.set_weights([w + 3 for w in model.get_weights()])
    self.assertGoesOnFromHere(model)

  @parameterized.parameters(1, 2, 3, 4)
  def test_reset_in_each_phase(self, steps):
    model = _model(_lookahead())
    _train(model, steps)
    model.set_weights([w + 3 for w in model.get_weights()])
    model.optimizer.reset_slow_weights()
    for variable, slow in zip(model.weights, model.optimizer.slow_weights):
      self.assertAllEqual(np.array(variable), np.array(slow))
    self.assertGoesOnFromHere(model)

  def test_a_file_of_weights_loaded_in_the_middle_of_a_period(self):
    path = self._path("bare.weights.h5")
    _model(seed=2).save_weights(path)
    model = _model(_lookahead())
    _train(model, 2)
    with self.assertWarnsRegex(UserWarning, "starts a period"):
      model.load_weights(path)
    self.assertAllEqual(model.get_weights()[0], _model(seed=2).get_weights()[0])
    self.assertGoesOnFromHere(model)

  def test_a_file_of_weights_loaded_between_build_and_the_first_step(self):
    path = self._path("bare.weights.h5")
    _model(seed=2).save_weights(path)
    model = _model(_lookahead())
    model.optimizer.build(model.trainable_variables)
    model.load_weights(path)
    self.assertGoesOnFromHere(model)

  def test_a_model_saved_before_it_was_trained(self):
    path = self._path("untrained.keras")
    _model(_lookahead()).save(path)
    self.assertGoesOnFromHere(keras.models.load_model(path))

  def test_a_model_saved_before_it_was_built(self):
    path = self._path("unbuilt.keras")
    model = _model(seed=2)
    model.compile(_lookahead(), loss="mse")
    model.save(path)
    loaded = keras.models.load_model(path)
    self.assertAllEqual(loaded.get_weights()[0], model.get_weights()[0])
    self.assertGoesOnFromHere(loaded)

  def test_a_checkpoint_without_the_optimizer(self):
    saved = _model(seed=2)
    path = tf.train.Checkpoint(model=saved).save(self._path("model"))
    model = _model(_lookahead())
    model.optimizer.build(model.trainable_variables)
    tf.train.Checkpoint(model=model).restore(path).expect_partial()
    self.assertAllEqual(model.get_weights()[0], saved.get_weights()[0])
    self.assertGoesOnFromHere(model)

  def test_early_stopping_restores_the_best_weights(self):
    best = []

    class Worsen(keras.callbacks.Callback):
      def on_epoch_end(self, epoch, logs=None):
        if epoch == 0:
          best.extend(self.model.get_weights())
        logs["loss"] = epoch

    model = _model(_lookahead())
    stop = keras.callbacks.EarlyStopping(
      "loss", patience=2, restore_best_weights=True
    )
    model.fit(
      X, Y, batch_size=8, epochs=9, callbacks=[Worsen(), stop], verbose=0
    )
    self.assertAllEqual(model.get_weights()[0], best[0])
    self.assertGoesOnFromHere(model)

  def test_anchors_of_slots_follow_too(self):
    variable = keras.Variable([1.0])
    inner = keras.optimizers.SGD(0.1, momentum=0.9)
    optimizer = Lookahead(inner, 2, 0.5, inner_state="interpolate")
    optimizer.build([variable])
    inner.momentums[0].assign([4.0])  # As a file of the inner state would.
    for _ in range(2):
      optimizer.apply([tf.zeros(1)], [variable])
    self.assertAllClose(inner.momentums[0], [(4.0 + 4.0 * 0.81) / 2])


class FinalizeTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.parameters(3, 4)
  def test_fit_returns_the_slow_weights(self, steps):
    fitted, stepped = _model(_lookahead()), _model(_lookahead())
    fitted.fit(
      X[: steps * 8], Y[: steps * 8], batch_size=8, shuffle=False, verbose=0
    )
    for step in range(steps):
      rows = slice(step * 8, step * 8 + 8)
      stepped.train_on_batch(X[rows], Y[rows])
    for variable, slow, expected in zip(
      fitted.trainable_variables,
      fitted.optimizer.slow_weights,
      stepped.optimizer.slow_weights,
    ):
      self.assertAllEqual(np.array(variable), np.array(expected))
      self.assertAllEqual(np.array(slow), np.array(expected))

  def test_a_fit_of_less_than_a_period_warns(self):
    model = _model(_lookahead())
    with self.assertWarnsRegex(UserWarning, "2 updates.*sync_period=3"):
      model.fit(X[:16], Y[:16], batch_size=8, verbose=0)

  def test_with_an_average_the_average_stays(self):
    inner = keras.optimizers.SGD(1.0, use_ema=True, ema_momentum=0.5)
    optimizer = Lookahead(inner, sync_period=10)
    variable = keras.Variable(0.0)
    for _ in range(3):
      optimizer.apply([tf.constant(1.0)], [variable])
    optimizer.finalize_variable_values([variable])
    self.assertAllClose(variable, -2.25)  # Of -1, -2 and -3.

  def test_before_the_build(self):
    optimizer = _lookahead()
    optimizer.finalize_variable_values([])
    self.assertFalse(optimizer.built)


if __name__ == "__main__":
  tf.test.main()
