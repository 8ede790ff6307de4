import os

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import lookahead_tf
from lookahead_tf import Lookahead
from tests import replicas


def _model(optimizer):
  keras.utils.set_random_seed(3)
  model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
  model.compile(optimizer, loss="mse")
  return model


def _values(variables):
  return [np.array(v) for v in variables]


def _train(model, steps=2):
  x = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
  for _ in range(steps):
    model.train_on_batch(x, x[:, :3])


class SlowWeightsTest(tf.test.TestCase, parameterized.TestCase):
  def assertSlowInsideFastOutside(self, model, lookahead, **arguments):
    fast = _values(model.trainable_variables)
    slow = _values(lookahead.slow_weights)
    self.assertNotAllClose(fast[0], slow[0])
    with lookahead_tf.slow_weights(model, **arguments) as inside:
      self.assertIs(inside, model)
      for value, expected in zip(_values(model.trainable_variables), slow):
        self.assertAllEqual(value, expected)
    for value, expected in zip(_values(model.trainable_variables), fast):
      self.assertAllEqual(value, expected)
    for value, expected in zip(_values(lookahead.slow_weights), slow):
      self.assertAllEqual(value, expected)

  def test_bit_for_bit(self):
    model = _model(Lookahead("sgd"))
    _train(model)
    self.assertSlowInsideFastOutside(model, model.optimizer)

  def test_after_an_exception(self):
    model = _model(Lookahead("sgd"))
    _train(model)
    fast = _values(model.trainable_variables)
    with (
      self.assertRaises(KeyboardInterrupt),
      lookahead_tf.slow_weights(model),
    ):
      model.trainable_variables[0].assign(tf.zeros((4, 3)))
      raise KeyboardInterrupt
    self.assertAllEqual(model.trainable_variables[0], fast[0])

  def test_through_a_loss_scale_optimizer(self):
    lookahead = Lookahead("sgd")
    model = _model(keras.optimizers.LossScaleOptimizer(lookahead))
    _train(model)
    self.assertSlowInsideFastOutside(model, lookahead)

  def test_optimizer_of_a_custom_loop(self):
    lookahead = Lookahead(keras.optimizers.SGD(0.1))
    model = _model("adam")
    lookahead.apply(
      [tf.ones_like(v.value) for v in model.trainable_variables],
      model.trainable_variables,
    )
    self.assertSlowInsideFastOutside(model, lookahead, optimizer=lookahead)

  def test_excluded_variables_stay(self):
    model = _model(Lookahead("sgd", exclude="bias"))
    _train(model)
    bias = np.array(model.trainable_variables[1])
    with lookahead_tf.slow_weights(model):
      self.assertAllEqual(model.trainable_variables[1], bias)

  def test_saves_the_slow_weights(self):
    path = os.path.join(self.get_temp_dir(), "model.keras")
    model = _model(Lookahead("sgd"))
    _train(model)
    with lookahead_tf.slow_weights(model):
      model.save(path)
    loaded = keras.models.load_model(path)
    for variable, slow in zip(
      loaded.trainable_variables, model.optimizer.slow_weights
    ):
      self.assertAllEqual(np.array(variable), np.array(slow))

  def test_mirrored(self):
    strategy = replicas.mirrored()
    with strategy.scope():
      lookahead = Lookahead(keras.optimizers.SGD(0.1))
      model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
      lookahead.build(model.trainable_variables)

    @tf.function
    def step():
      strategy.run(
        lambda: lookahead.apply(
          [tf.ones_like(v.value) for v in model.trainable_variables]
        )
      )

    step()
    self.assertSlowInsideFastOutside(model, lookahead, optimizer=lookahead)
    for variable in model.trainable_variables:
      first, second = strategy.experimental_local_results(variable.value)
      self.assertAllEqual(first, second)

  @parameterized.parameters("fit", "train_on_batch", "apply")
  def test_training_within_it_is_refused_at_once(self, what):
    model = _model(Lookahead("sgd"))
    _train(model)
    fast = _values(model.weights)
    x = np.ones((8, 4), "float32")
    gradients = [tf.ones_like(v.value) for v in model.weights]
    message = f"'{model.optimizer.name}' cannot train now"
    with (
      self.assertRaisesRegex(RuntimeError, message),
      lookahead_tf.slow_weights(model),
    ):
      if what == "fit":
        model.fit(x, x[:, :3], verbose=0)
      elif what == "train_on_batch":
        model.train_on_batch(x, x[:, :3])
      else:
        model.optimizer.apply(gradients)
    for variable, value in zip(model.weights, fast):
      self.assertAllEqual(variable, value)
    _train(model)  # As before.

  def test_a_compiled_step_within_it_is_noticed(self):
    model = _model(Lookahead("sgd"))
    _train(model)
    ones = [tf.ones_like(v.value) for v in model.weights]
    step = tf.function(lambda: model.optimizer.apply(ones))
    step()
    fast = _values(model.weights)
    with (
      self.assertRaisesRegex(RuntimeError, "made 2 updates while"),
      lookahead_tf.slow_weights(model),
    ):
      step()
      step()
    for variable, value in zip(model.weights, fast):
      self.assertAllEqual(variable, value)

  def test_within_another_it_does_nothing(self):
    model = _model(Lookahead("sgd"))
    _train(model)
    fast = _values(model.weights)
    with lookahead_tf.slow_weights(model):
      slow = _values(model.weights)
      with lookahead_tf.slow_weights(model):
        self.assertAllEqual(model.weights[0], slow[0])
      self.assertAllEqual(model.weights[0], slow[0])
    self.assertAllEqual(model.weights[0], fast[0])

  def test_a_reset_within_it_keeps_the_slow_weights(self):
    model = _model(Lookahead("sgd"))
    _train(model)
    with lookahead_tf.slow_weights(model):
      slow = _values(model.weights)
      model.optimizer.reset_slow_weights()
    self.assertAllEqual(model.weights[0], slow[0])
    _train(model)

  def test_compiled_anew_within_it(self):
    model = _model(Lookahead("sgd"))
    _train(model)
    fast = _values(model.weights)
    with lookahead_tf.slow_weights(model):
      model.compile(model.optimizer, loss="mae")
    self.assertAllEqual(model.weights[0], fast[0])
    _train(model)

  def test_mirrored_statistics_of_each_replica_stay(self):
    strategy = replicas.mirrored()
    with strategy.scope():
      layer = keras.layers.BatchNormalization()
      model = keras.Sequential([keras.Input((2,)), layer])
      lookahead = Lookahead(keras.optimizers.SGD(0.1))
      lookahead.build(model.trainable_variables)
    parts = strategy.experimental_local_results(layer.moving_mean.value)
    for i, part in enumerate(parts):
      part.assign([i, i + 1.0])
    with lookahead_tf.slow_weights(model, lookahead):
      pass
    for i, part in enumerate(parts):
      self.assertAllEqual(part, [i, i + 1.0])

  def test_other_optimizer(self):
    model = _model("sgd")
    with self.assertRaisesRegex(ValueError, "needs a model that a Lookahead"):
      lookahead_tf.slow_weights(model).__enter__()

  def test_optimizer_of_another_model(self):
    model, other = _model(Lookahead("sgd")), _model(Lookahead("sgd"))
    _train(other)
    with self.assertRaisesRegex(ValueError, "built for other variables"):
      lookahead_tf.slow_weights(model, other.optimizer).__enter__()

  def test_before_the_first_step(self):
    model = _model(Lookahead("sgd"))
    with self.assertRaisesRegex(ValueError, "train a step, or call"):
      lookahead_tf.slow_weights(model).__enter__()


if __name__ == "__main__":
  tf.test.main()
