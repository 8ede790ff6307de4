"""Variables that have no gradient belong to whoever assigns them."""

import os

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import lookahead_tf
from lookahead_tf import Lookahead
from tests import replicas, xla

K, ALPHA = 2, 0.5
_rng = np.random.default_rng(0)
X = _rng.normal(3.0, size=(40, 3)).astype("float32")
Y = X.sum(1, keepdims=True)


def _model():
  keras.utils.set_random_seed(1)
  return keras.Sequential(
    [
      keras.Input((3,)),
      keras.layers.BatchNormalization(momentum=0.5),
      keras.layers.Dense(1),
    ]
  )


@keras.saving.register_keras_serializable(package="untrained_variables_test")
class Counting(keras.layers.Layer):
  """Counts its calls in training by a variable that Keras calls trainable."""

  def build(self, shape):
    self.count = self.add_weight(shape=(), initializer="zeros", name="count")

  def call(self, x, training=False):
    if training:
      self.count.assign(self.count + 1.0)
    return x


class UntrainedVariablesTest(tf.test.TestCase, parameterized.TestCase):
  def _statistics(self, model, optimizer, **compile_arguments):
    model.compile(optimizer, loss="mse", **compile_arguments)
    model.fit(X, Y, batch_size=8, shuffle=False, verbose=0)
    return [np.array(v) for v in model.layers[0].non_trainable_variables]

  @parameterized.parameters({}, {"jit_compile": True}, {"run_eagerly": True})
  def test_built_for_all_variables(self, **compile_arguments):
    # A batch normalization that sees the data: its statistics are those of the
    # bare optimizer, and need no other reference.
    if "jit_compile" in compile_arguments:
      xla.require(self)
    expected = self._statistics(_model(), "sgd", **compile_arguments)
    for inner_state in ("maintain", "interpolate", "reset"):
      model = _model()
      optimizer = Lookahead("adam", K, ALPHA, inner_state=inner_state)
      optimizer.build(model.variables)
      found = self._statistics(model, optimizer, **compile_arguments)
      self.assertAllClose(found[0], expected[0], 1e-6)
      self.assertAllClose(found[1], expected[1], 1e-6)

  def test_within_slow_weights(self):
    model = _model()
    model.compile(Lookahead("sgd", 5), loss="mse")
    model.optimizer.build(model.variables)
    for _ in range(3):
      model.train_on_batch(X, Y)
    before = np.array(model.layers[0].moving_mean)
    with lookahead_tf.slow_weights(model):
      self.assertAllEqual(model.layers[0].moving_mean, before)
    model.optimizer.return_slow_weights()
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
    model.fit(X[:32], Y[:32], batch_size=8, verbose=0, callbacks=[Count()])
    self.assertAllEqual(counter, 4.0)

  @parameterized.parameters("fit", "saved")
  def test_a_variable_that_a_layer_assigns(self, way):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([Counting(), keras.layers.Dense(1)])
    model.compile(Lookahead("sgd", 3, ALPHA), loss="mse")
    for _ in range(5):
      model.train_on_batch(X[:8], Y[:8])
    if way == "saved":
      path = os.path.join(self.get_temp_dir(), "counting.keras")
      model.save(path)
      model = keras.models.load_model(path)
      with lookahead_tf.slow_weights(model):
        pass
    model.fit(X, Y, batch_size=8, verbose=0)
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
