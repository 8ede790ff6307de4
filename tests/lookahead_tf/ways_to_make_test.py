"""Algorithm 1 holds for a model however it was made and is trained."""

import functools

import keras
import tensorflow as tf
from absl.testing import parameterized

import lookahead_tf
from lookahead_tf import Lookahead
from tests.lookahead_tf import (
  algorithm1,
  keras_optimizers,
  small_model,
  ways_to_run,
)
from tests.lookahead_tf.small_model import fit, values
from tests.lookahead_tf.test_case import TestCase
from tests.lookahead_tf.ways_to_make import WAYS

K, ALPHA = 3, 0.6
INNER = {
  "momentum": lambda: keras.optimizers.SGD(0.05, momentum=0.9),
  # Its slots start at the weights, which its build reads.
  "schedule_free": lambda: keras.optimizers.ScheduleFreeAdamW(0.05),
}
WAYS_TO_TRAIN = [
  *("fit", "fit_xla", "fit_4_steps", "fit_eager", "fit_loss_scale"),
  *("train_on_batch", "function", "function_xla", "function_that_builds"),
]


def _make(way):
  keras.utils.set_random_seed(1)
  return WAYS[way]()


def _slow_weights_of_algorithm_1(model, inner):
  """Returns them for the bare optimizer in eager mode."""
  x, _ = small_model.batch(0)
  model(x)  # Makes the variables.
  bare = algorithm1.Bare(INNER[inner](), model.trainable_variables)

  def gradient(weights, step):
    for variable, weight in zip(bare.variables, weights):
      variable.assign(weight)
    x, y = small_model.batch(step)
    with tf.GradientTape() as tape:
      loss = tf.reduce_mean((model(x) - y) ** 2)
    return tape.gradient(loss, bare.variables)

  _, slow = algorithm1.lookahead(
    bare, gradient, values(bare.variables), ways_to_run.STEPS, K, ALPHA
  )
  return slow


@functools.cache
def _expected(way, inner):
  return _slow_weights_of_algorithm_1(_make(way), inner)


def _fit(model, optimizer):
  model.compile(optimizer, loss="mse")
  fit(model, ways_to_run.STEPS)


class WaysToMakeTest(TestCase):
  def assertIsAlgorithm1(self, way, inner, way_to_train):
    if inner == "schedule_free":
      keras_optimizers.require(self, "ScheduleFreeAdamW")
    ways_to_run.require(self, way_to_train)
    model, optimizer = _make(way), Lookahead(INNER[inner](), K, ALPHA)
    ways_to_run.WAYS[way_to_train](model, optimizer)
    if not way_to_train.startswith("fit"):
      optimizer.finish_training()
    expected = _expected(way, inner)
    self.assertNear(model.trainable_variables, expected, 2e-5)
    self.assertEqual(int(optimizer.iterations), ways_to_run.STEPS)

  @parameterized.parameters(*WAYS)
  def test_each_way(self, way):
    self.assertIsAlgorithm1(way, "momentum", "fit")

  @parameterized.product(inner=list(INNER), way=WAYS_TO_TRAIN)
  def test_each_way_to_train(self, inner, way):
    self.assertIsAlgorithm1("deferred", inner, way)

  def test_each_lookahead_of_a_multi_optimizer(self):
    keras_optimizers.require(self, "MultiOptimizer")
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
    expected = _expected("deferred", "momentum")
    self.assertNear(model.trainable_variables, expected, 2e-5)

  def assertSameDeferredAndBuilt(self, make_optimizer):
    """A fit of a model without variables is as that of one that has them."""
    deferred, built = _make("deferred"), _make("built")
    for model in (deferred, built):
      _fit(model, make_optimizer())
    self.assertSame(deferred.get_weights(), built.get_weights())

  def test_nested_lookaheads(self):
    self.assertSameDeferredAndBuilt(
      lambda: Lookahead(Lookahead(INNER["momentum"](), 2), 2)
    )

  @parameterized.parameters("float16", "bfloat16")
  def test_mixed_precision(self, dtype):
    keras.config.set_dtype_policy(f"mixed_{dtype}")
    self.addCleanup(keras.config.set_dtype_policy, "float32")
    self.assertSameDeferredAndBuilt(lambda: Lookahead("adam", K, ALPHA))

  @parameterized.parameters("interpolate", "reset")
  def test_inner_state(self, inner_state):
    keras_optimizers.require(self, "ScheduleFreeAdamW")
    self.assertSameDeferredAndBuilt(
      lambda: Lookahead(
        INNER["schedule_free"](), K, ALPHA, inner_state=inner_state
      )
    )

  def test_loaded(self):
    path = self.new_path("deferred.keras")
    model = _make("deferred")
    model.compile(Lookahead(INNER["momentum"](), K, ALPHA), loss="mse")
    model.save(path)  # Before it has variables.
    keras.utils.set_random_seed(2)
    loaded, again = (keras.models.load_model(path) for _ in range(2))
    x, _ = small_model.batch(0)
    loaded(x), again(x)
    again.set_weights(loaded.get_weights())
    expected = _slow_weights_of_algorithm_1(again, "momentum")
    fit(loaded, ways_to_run.STEPS)
    self.assertNear(loaded.weights, expected, 2e-5)

  def test_slow_weights_of_the_first_step_are_the_initial_weights(self):
    model, built = _make("deferred"), _make("built")
    model.compile(Lookahead("adam", K), loss="mse")
    small_model.train(model, 0, 1)
    with lookahead_tf.slow_weights(model):
      self.assertSame(model.get_weights(), built.get_weights())

  def test_first_values_that_depend_on_the_data(self):
    variables, optimizer = [], Lookahead("sgd")

    @tf.function
    def step(x):
      if not variables:
        variables.append(tf.Variable(lambda: tf.reduce_mean(x, 0)))
      with tf.GradientTape() as tape:
        loss = tf.reduce_sum(x * variables[0])
      optimizer.apply(tape.gradient(loss, variables), variables)

    with self.assertRaisesRegex(Exception, "Build.*model before training"):
      step(tf.constant(small_model.X[:8]))


if __name__ == "__main__":
  tf.test.main()
