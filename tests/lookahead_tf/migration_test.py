import keras
import tensorflow as tf
from absl.testing import parameterized

import lookahead_tf
from lookahead_tf import Lookahead, unwrap_optimizer, wrap_optimizer
from tests.lookahead_tf.small_model import X, Y, make, train, values
from tests.lookahead_tf.test_case import TestCase

K = 3


def _loss(y, p):
  return keras.ops.mean((y - p) ** 2)


def _model(optimizer, **arguments):
  return make(optimizer, loss=_loss, **arguments)


class WrapOptimizerTest(TestCase):
  def test_goes_on_with_the_state_of_the_inner_optimizer(self):
    path = self.new_path("bare.keras")
    model = make(keras.optimizers.Adam(0.1))
    train(model, 0, 4)
    model.save(path)
    loaded = keras.models.load_model(path)
    optimizer = wrap_optimizer(loaded, sync_period=K, slow_step_size=0.5)
    self.assertIs(loaded.optimizer, optimizer)
    phi = values(loaded.weights)
    train(model, 4, 4 + K)
    train(loaded, 4, 4 + K)
    self.assertEqual(int(optimizer.iterations), 4 + K)
    expected = [p + 0.5 * (w - p) for p, w in zip(phi, model.get_weights())]
    self.assertAllClose(loaded.get_weights(), expected, 1e-6, 1e-6)

  def test_what_was_compiled_stays(self):
    model = _model("adam", metrics=["mae"], steps_per_execution=2)
    wrap_optimizer(model, sync_period=2)
    self.assertEqual(model.steps_per_execution, 2)
    self.assertIn("mae", model.evaluate(X, Y, verbose=0, return_dict=True))

  def test_saved_after_it_was_wrapped(self):
    path = self.new_path("wrapped.keras")
    model = make("adam")
    train(model, 0, 2)
    wrap_optimizer(model, sync_period=K)
    train(model, 2, 3)
    model.save(path)
    loaded = keras.models.load_model(path)
    self.assertSame(loaded.optimizer.variables, model.optimizer.variables)

  def test_within_a_loss_scale_optimizer(self):
    outer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1))
    model = _model(outer)
    train(model, 0, 2)
    optimizer = wrap_optimizer(model, sync_period=K)
    self.assertIs(model.optimizer, outer)
    self.assertIs(outer.inner_optimizer, optimizer)
    train(model, 2, 4)
    with lookahead_tf.slow_weights(model):
      model.evaluate(X, Y, verbose=0)
    unwrap_optimizer(model)
    self.assertIsInstance(outer.inner_optimizer, keras.optimizers.SGD)
    train(model, 4, 5)

  def test_before_training(self):
    model = _model("adam", build_optimizer=False)
    wrap_optimizer(model)
    train(model, 0, 2)
    self.assertEqual(int(model.optimizer.iterations), 2)

  @parameterized.parameters(
    (Lookahead("sgd"), "optimizer=.*Lookahead"),
    (None, "`model`.*compile.*model=<Sequential"),
  )
  def test_mistakes(self, optimizer, named):
    with self.assertRaisesRegex(ValueError, named):
      wrap_optimizer(make(optimizer))


class UnwrapOptimizerTest(TestCase):
  def test_slow_weights_and_inner_state_stay(self):
    model = _model(Lookahead(keras.optimizers.Adam(0.1), K))
    train(model, 0, 5)
    lookahead = model.optimizer
    slow = values(lookahead.slow_weights)
    state = values(lookahead.inner_optimizer.variables)
    inner = unwrap_optimizer(model)
    self.assertIs(model.optimizer, inner)
    self.assertIsInstance(inner, keras.optimizers.Adam)
    self.assertSame(model.weights + inner.variables, slow + state)
    train(model, 5, 6)
    self.assertEqual(int(inner.iterations), 6)

  def test_without_a_lookahead(self):
    message = "^unwrap_optimizer needs .*Lookahead.*SGD"
    with self.assertRaisesRegex(ValueError, message):
      unwrap_optimizer(_model("sgd"))


if __name__ == "__main__":
  tf.test.main()
