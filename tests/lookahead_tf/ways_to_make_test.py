"""Algorithm 1 holds for a model however it was made and is trained.

The reference is the bare optimizer in eager mode, in two loops.
"""

import os

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import lookahead_tf
from lookahead_tf import Lookahead
from tests import xla
from tests.lookahead_tf import keras_optimizers
from tests.lookahead_tf.ways_to_make import WAYS, X_SHAPE

K, ALPHA, STEPS = 3, 0.6, 8
_rng = np.random.default_rng(0)
X = _rng.normal(size=(STEPS * 8, *X_SHAPE)).astype("float32")
Y = X.sum(1, keepdims=True)

INNER = {
  "momentum": lambda: keras.optimizers.SGD(0.05, momentum=0.9),
  # Its slots start at the weights, which its build reads.
  "schedule_free": lambda: keras.optimizers.ScheduleFreeAdamW(0.05),
}


def _make(way):
  keras.utils.set_random_seed(1)
  return WAYS[way]()


def _values(variables):
  return [np.array(v) for v in variables]


def _batches():
  return [(X[i : i + 8], Y[i : i + 8]) for i in range(0, len(X), 8)]


def _slow_weights_of_algorithm_1(model, inner):
  model(X[:8])
  weights = model.trainable_variables
  inner.build(weights)
  phi = _values(weights)
  for step, (x, y) in enumerate(_batches(), 1):
    with tf.GradientTape() as tape:
      loss = tf.reduce_mean((model(x) - y) ** 2)
    inner.apply(tape.gradient(loss, weights), weights)
    if step % K == 0:
      phi = [p + ALPHA * (np.array(v) - p) for p, v in zip(phi, weights)]
      for variable, value in zip(weights, phi):
        variable.assign(value)
  return phi


def _fit(model, optimizer, **compile_arguments):
  model.compile(optimizer, loss="mse", **compile_arguments)
  model.fit(X, Y, batch_size=8, shuffle=False, verbose=0)


def _train_on_batch(model, optimizer):
  model.compile(optimizer, loss="mse")
  for x, y in _batches():
    model.train_on_batch(x, y)
  optimizer.return_slow_weights()


def _function(model, optimizer, builds=False, **arguments):
  @tf.function(**arguments)
  def step(x, y):
    with tf.GradientTape() as tape:
      loss = tf.reduce_mean((model(x) - y) ** 2)
    gradients = tape.gradient(loss, model.trainable_variables)
    if builds:
      optimizer.build(model.trainable_variables)
      optimizer.apply(gradients)
    else:
      optimizer.apply(gradients, model.trainable_variables)

  for x, y in _batches():
    step(tf.constant(x), tf.constant(y))
  optimizer.return_slow_weights()


MODES = {
  "fit": _fit,
  "fit_xla": lambda m, o: _fit(m, o, jit_compile=True),
  "fit_4_steps": lambda m, o: _fit(m, o, steps_per_execution=4),
  "fit_eager": lambda m, o: _fit(m, o, run_eagerly=True),
  "fit_loss_scale": lambda m, o: _fit(
    m, keras.optimizers.LossScaleOptimizer(o, initial_scale=4.0)
  ),
  "train_on_batch": _train_on_batch,
  "function": _function,
  "function_xla": lambda m, o: _function(m, o, jit_compile=True),
  "function_that_builds": lambda m, o: _function(m, o, builds=True),
}


class WaysToMakeTest(tf.test.TestCase, parameterized.TestCase):
  def assertIsAlgorithm1(self, way, inner, mode, tolerance=2e-5):
    if inner == "schedule_free":
      keras_optimizers.require(self, "ScheduleFreeAdamW")
    expected = _slow_weights_of_algorithm_1(_make(way), INNER[inner]())
    model, optimizer = _make(way), Lookahead(INNER[inner](), K, ALPHA)
    MODES[mode](model, optimizer)
    found = _values(model.trainable_variables)
    self.assertAllClose(found, expected, tolerance, tolerance)
    self.assertEqual(int(optimizer.iterations), STEPS)

  @parameterized.parameters(*WAYS)
  def test_each_way(self, way):
    self.assertIsAlgorithm1(way, "momentum", "fit")

  @parameterized.product(inner=list(INNER), mode=list(MODES))
  def test_each_way_to_train(self, inner, mode):
    if "xla" in mode:
      xla.require(self)
    self.assertIsAlgorithm1("deferred", inner, mode)

  def test_each_lookahead_of_a_multi_optimizer(self):
    keras_optimizers.require(self, "MultiOptimizer")
    expected = _slow_weights_of_algorithm_1(
      _make("deferred"), INNER["momentum"]()
    )
    optimizers = {
      name: Lookahead(INNER["momentum"](), K, ALPHA) for name in "kb"
    }
    model = _make("deferred")
    _fit(
      model,
      keras.optimizers.MultiOptimizer(
        lambda variable: optimizers["k" if "kernel" in variable.path else "b"]
      ),
    )
    self.assertAllClose(
      _values(model.trainable_variables), expected, 2e-5, 2e-5
    )

  def test_nested_lookaheads(self):
    models = {name: _make(name) for name in ("deferred", "built")}
    for model in models.values():
      _fit(model, Lookahead(Lookahead(INNER["momentum"](), 2), 2))
    for a, b in zip(*(model.get_weights() for model in models.values())):
      self.assertAllEqual(a, b)

  @parameterized.parameters("float16", "bfloat16")
  def test_mixed_precision(self, dtype):
    keras.config.set_dtype_policy(f"mixed_{dtype}")
    self.addCleanup(keras.config.set_dtype_policy, "float32")
    weights = []
    for way in ("deferred", "built"):
      model = _make(way)
      _fit(model, Lookahead("adam", K, ALPHA))
      weights.append(model.get_weights())
    for a, b in zip(*weights):
      self.assertAllEqual(a, b)

  @parameterized.parameters("interpolate", "reset")
  def test_inner_state(self, inner_state):
    keras_optimizers.require(self, "ScheduleFreeAdamW")
    weights = []
    for way in ("deferred", "built"):
      model = _make(way)
      inner = INNER["schedule_free"]()
      _fit(model, Lookahead(inner, K, ALPHA, inner_state=inner_state))
      weights.append(model.get_weights())
    for a, b in zip(*weights):
      self.assertAllEqual(a, b)

  def test_loaded(self):
    path = os.path.join(self.get_temp_dir(), "deferred.keras")
    model = _make("deferred")
    model.compile(Lookahead(INNER["momentum"](), K, ALPHA), loss="mse")
    model.save(path)  # Before it has variables.
    keras.utils.set_random_seed(2)
    loaded, again = (keras.models.load_model(path) for _ in range(2))
    loaded(X[:8]), again(X[:8])
    again.set_weights(loaded.get_weights())
    expected = _slow_weights_of_algorithm_1(again, INNER["momentum"]())
    loaded.fit(X, Y, batch_size=8, shuffle=False, verbose=0)
    self.assertAllClose(_values(loaded.weights), expected, 2e-5, 2e-5)

  def test_slow_weights_of_the_first_step_are_the_initial_weights(self):
    model, built = _make("deferred"), _make("built")
    model.compile(Lookahead("adam", K), loss="mse")
    model.train_on_batch(X[:8], Y[:8])
    with lookahead_tf.slow_weights(model):
      for a, b in zip(model.get_weights(), built.get_weights()):
        self.assertAllEqual(a, b)

  def test_first_values_that_depend_on_the_data(self):
    variables, optimizer = [], Lookahead("sgd")

    @tf.function
    def step(x):
      if not variables:
        variables.append(tf.Variable(lambda: tf.reduce_mean(x, 0)))
      with tf.GradientTape() as tape:
        loss = tf.reduce_sum(x * variables[0])
      optimizer.apply(tape.gradient(loss, variables), variables)

    with self.assertRaisesRegex(Exception, "Build.*the model before training"):
      step(tf.constant(X[:8]))


if __name__ == "__main__":
  tf.test.main()
