import os

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import lookahead_tf
from lookahead_tf import Lookahead, unwrap_optimizer, wrap_optimizer

K = 3
_rng = np.random.default_rng(0)
X = _rng.normal(size=(80, 4)).astype("float32")
Y = _rng.normal(size=(80, 2)).astype("float32")


def _model(optimizer, **arguments):
  keras.utils.set_random_seed(1)
  model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
  loss = lambda y, p: keras.ops.mean((y - p) ** 2)  # noqa: E731
  model.compile(optimizer, loss=loss, **arguments)
  return model


def _train(model, first, last):
  for step in range(first, last):
    model.train_on_batch(X[step * 8 : step * 8 + 8], Y[step * 8 : step * 8 + 8])


def _values(variables):
  return [np.array(v) for v in variables]


class WrapOptimizerTest(tf.test.TestCase, parameterized.TestCase):
  def test_goes_on_with_the_state_of_the_inner_optimizer(self):
    path = os.path.join(self.get_temp_dir(), "bare.keras")
    model = _model(keras.optimizers.Adam(0.1))
    model.compile(model.optimizer, loss="mse")
    _train(model, 0, 4)
    model.save(path)
    loaded = keras.models.load_model(path)
    optimizer = wrap_optimizer(loaded, sync_period=K, slow_step_size=0.5)
    self.assertIs(loaded.optimizer, optimizer)
    phi = _values(loaded.weights)
    _train(model, 4, 4 + K)
    _train(loaded, 4, 4 + K)
    self.assertEqual(int(optimizer.iterations), 4 + K)
    expected = [p + 0.5 * (w - p) for p, w in zip(phi, model.get_weights())]
    self.assertAllClose(loaded.get_weights(), expected, 1e-6, 1e-6)

  def test_what_was_compiled_stays(self):
    model = _model("adam", metrics=["mae"], steps_per_execution=2)
    wrap_optimizer(model, sync_period=2)
    self.assertEqual(model.steps_per_execution, 2)
    self.assertIn("mae", model.evaluate(X, Y, verbose=0, return_dict=True))

  def test_saved_after_it_was_wrapped(self):
    path = os.path.join(self.get_temp_dir(), "wrapped.keras")
    model = _model("adam")
    model.compile("adam", loss="mse")
    _train(model, 0, 2)
    wrap_optimizer(model, sync_period=K)
    _train(model, 2, 3)
    model.save(path)
    loaded = keras.models.load_model(path)
    for a, b in zip(loaded.optimizer.variables, model.optimizer.variables):
      self.assertAllEqual(np.array(a), np.array(b))

  def test_within_a_loss_scale_optimizer(self):
    outer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1))
    model = _model(outer)
    _train(model, 0, 2)
    optimizer = wrap_optimizer(model, sync_period=K)
    self.assertIs(model.optimizer, outer)
    self.assertIs(outer.inner_optimizer, optimizer)
    _train(model, 2, 4)
    with lookahead_tf.slow_weights(model):
      model.evaluate(X, Y, verbose=0)
    unwrap_optimizer(model)
    self.assertIsInstance(outer.inner_optimizer, keras.optimizers.SGD)
    _train(model, 4, 5)

  def test_before_training(self):
    model = _model("adam")
    wrap_optimizer(model)
    _train(model, 0, 2)
    self.assertEqual(int(model.optimizer.iterations), 2)

  @parameterized.parameters(
    (lambda: _model(Lookahead("sgd")), "without Lookahead"),
    (lambda: keras.Sequential([keras.Input((1,))]), "must be compiled"),
  )
  def test_mistakes(self, make, message):
    with self.assertRaisesRegex(ValueError, message):
      wrap_optimizer(make())


class UnwrapOptimizerTest(tf.test.TestCase):
  def test_slow_weights_and_inner_state_stay(self):
    model = _model(Lookahead(keras.optimizers.Adam(0.1), K))
    _train(model, 0, 5)
    lookahead = model.optimizer
    slow = _values(lookahead.slow_weights)
    state = _values(lookahead.inner_optimizer.variables)
    inner = unwrap_optimizer(model)
    self.assertIs(model.optimizer, inner)
    self.assertIsInstance(inner, keras.optimizers.Adam)
    for a, b in zip(_values(model.weights + inner.variables), slow + state):
      self.assertAllEqual(a, b)
    _train(model, 5, 6)
    self.assertEqual(int(inner.iterations), 6)

  def test_without_a_lookahead(self):
    with self.assertRaisesRegex(ValueError, "that a Lookahead optimizer"):
      unwrap_optimizer(_model("sgd"))


if __name__ == "__main__":
  tf.test.main()
