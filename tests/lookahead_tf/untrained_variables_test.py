"""Variables that have no gradient belong to whoever assigns them."""

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import lookahead_tf
from lookahead_tf import Lookahead
from tests import replicas, xla
from tests.lookahead_tf import small_model
from tests.lookahead_tf.small_model import fit, train
from tests.lookahead_tf.test_case import TestCase

K, ALPHA, STEPS = 2, 0.5, 5


def _model():
  keras.utils.set_random_seed(1)
  return keras.Sequential(
    [
      keras.Input((4,)),
      keras.layers.BatchNormalization(momentum=0.5),
      keras.layers.Dense(2),
    ]
  )


def _expected_statistics():
  """Returns the moving mean and variance of the inputs over STEPS batches."""
  mean, variance = np.zeros(4), np.ones(4)
  for step in range(STEPS):
    x, _ = small_model.batch(step)
    mean = 0.5 * mean + 0.5 * x.mean(0)
    variance = 0.5 * variance + 0.5 * x.var(0)
  return mean, variance


@keras.saving.register_keras_serializable(package="untrained_variables_test")
class Counting(keras.layers.Layer):
  """Counts its calls in training by a variable that Keras calls trainable."""

  def build(self, shape):
    self.count = self.add_weight(shape=(), initializer="zeros", name="count")

  def call(self, x, training=False):
    if training:
      self.count.assign(self.count + 1.0)
    return x


class UntrainedVariablesTest(TestCase):
  @parameterized.parameters({}, {"jit_compile": True}, {"run_eagerly": True})
  def test_built_for_all_variables(self, **compile_arguments):
    if "jit_compile" in compile_arguments:
      xla.require(self)
    for inner_state in ("maintain", "interpolate", "reset"):
      model = _model()
      inner = keras.optimizers.SGD(0.1, momentum=0.9)
      optimizer = Lookahead(inner, K, ALPHA, inner_state=inner_state)
      optimizer.build(model.variables)
      model.compile(optimizer, loss="mse", **compile_arguments)
      fit(model, STEPS)
      found = model.layers[0].non_trainable_variables
      self.assertNear(found, _expected_statistics(), 1e-5)

  def test_within_slow_weights(self):
    model = _model()
    model.compile(Lookahead("sgd", 5), loss="mse")
    model.optimizer.build(model.variables)
    train(model, 0, 3)
    before = np.array(model.layers[0].moving_mean)
    with lookahead_tf.slow_weights(model):
      self.assertAllEqual(model.layers[0].moving_mean, before)
    model.optimizer.finish_training()
    self.assertAllEqual(model.layers[0].moving_mean, before)

  @parameterized.parameters(False, True)
  def test_a_counter_of_a_callback(self, run_eagerly):
    class Count(keras.callbacks.Callback):
      def on_train_batch_end(self, batch, logs=None):
        counter.assign(counter + 1.0)

    model = _model()
    counter = keras.Variable(0.0, name="counter")
    optimizer = Lookahead("sgd", K, ALPHA)
    optimizer.build([*model.trainable_variables, counter])
    model.compile(optimizer, loss="mse", run_eagerly=run_eagerly)
    fit(model, 4, callbacks=[Count()])
    self.assertAllEqual(counter, 4.0)

  @parameterized.parameters("fit", "saved")
  def test_a_variable_that_a_layer_assigns(self, way):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([Counting(), keras.layers.Dense(2)])
    model.compile(Lookahead("sgd", 3, ALPHA), loss="mse")
    train(model, 0, 5)
    if way == "saved":
      path = self.new_path("counting.keras")
      model.save(path)
      model = keras.models.load_model(path)
      with lookahead_tf.slow_weights(model):
        pass
    fit(model, STEPS)
    self.assertAllEqual(model.layers[0].count, 10.0)

  def test_a_layer_that_is_trained_later(self):
    # Two steps with it frozen, then it moves, then a synchronization is due.
    model = _model()
    dense = model.layers[1]
    optimizer = Lookahead(keras.optimizers.SGD(1.0), 4, ALPHA)
    optimizer.build(model.variables)
    ones = [tf.ones_like(v.value) for v in dense.trainable_variables]
    start = np.array(dense.kernel)
    frozen = tf.function(lambda: optimizer.apply(ones[1:], [dense.bias]))
    trained = tf.function(
      lambda: optimizer.apply(ones, dense.trainable_variables)
    )
    frozen(), frozen(), trained(), trained()
    self.assertAllClose(dense.kernel, start - 1.0)

  @parameterized.parameters(tf.function, lambda function: function)
  def test_steps_for_different_variables(self, decorate):
    # The step that synchronizes is traced before the other variable has had
    # its first gradient.
    first, second = keras.Variable(0.0), keras.Variable(0.0)
    optimizer = Lookahead(keras.optimizers.SGD(1.0), 2, ALPHA)
    optimizer.build([first, second])

    def step_of(variable):
      return decorate(lambda: optimizer.apply([tf.constant(-1.0)], [variable]))

    steps = [step_of(first), step_of(second)]
    for i in (0, 1, 1, 0, 1, 0):
      steps[i]()
    # By hand: (1, 1) -> (.5, .5), (1.5, 1.5) -> (1, 1), (2, 2) -> (1.5, 1.5).
    self.assertAllClose([first, second], [1.5, 1.5])

  def test_mirrored(self):
    strategy = replicas.mirrored()
    with strategy.scope():
      trained, other = keras.Variable(0.0), keras.Variable(0.0)
      optimizer = Lookahead(keras.optimizers.SGD(0.5), 2, ALPHA)
      optimizer.build([trained, other])

    def step_of(variable):
      def step():
        optimizer.apply([tf.identity(tf.constant(-1.0))], [variable])

      return tf.function(lambda: strategy.run(step))

    step, other_step = step_of(trained), step_of(other)
    step()
    other.assign(7.0)
    step()
    self.assertCopies(strategy, [(trained, 1.0), (other, 7.0)])
    other_step(), step()
    self.assertCopies(strategy, [(trained, 1.5), (other, 7.5)])

  def assertCopies(self, strategy, expected):
    for variable, value in expected:
      for copy in strategy.experimental_local_results(variable.value):
        self.assertAllClose(copy, value)


if __name__ == "__main__":
  tf.test.main()
