import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from lookahead_tf import Lookahead
from tests import xla
from tests.lookahead_tf import algorithm1, noisy_quadratic, small_model
from tests.lookahead_tf.noisy_quadratic import train
from tests.lookahead_tf.small_model import values
from tests.lookahead_tf.test_case import TestCase


class UpdateTest(TestCase):
  def test_stationary_variance_of_the_noisy_quadratic(self):
    # gamma = .5, a = 1, k = 5, alpha = .5: .1134 against .3333 for SGD, from
    # the formula of the noisy quadratic model. 20,000 chains, 30 periods.
    weights = keras.Variable(tf.zeros(20_000))
    optimizer = Lookahead(keras.optimizers.SGD(0.5), 5, 0.5)
    generator = tf.random.Generator.from_seed(1)

    @tf.function
    def step():
      centre = generator.normal(weights.shape)
      optimizer.apply([weights - centre], [weights])

    optimizer.build([weights])
    for _ in range(5 * 30):
      step()
    self.assertAllClose(np.var(weights), 0.1134021, rtol=0.04)

  def test_period_and_step_size_can_change_at_run_time(self):
    variable = keras.Variable([1.0])
    optimizer = Lookahead(keras.optimizers.SGD(0.1), 4, 0.5)
    optimizer.build([variable])
    step = tf.function(lambda: optimizer.apply([tf.ones(1)], [variable]))
    step()
    optimizer.sync_period = 2
    optimizer.slow_step_size = 0.25
    step()
    self.assertEqual(optimizer.sync_period, 2)
    self.assertEqual(optimizer.slow_step_size, 0.25)
    self.assertAllClose(variable, [1.0 - 0.25 * 0.2])
    with self.assertRaisesRegex(ValueError, "sync_period=0"):
      optimizer.sync_period = 0


def _initial(size):
  return np.random.default_rng(0).normal(size=size).astype("float32")


class EndsTest(TestCase):
  """Step sizes of 0 and 1, over 200 periods."""

  def _train(self, optimizer, way):
    if way == "xla":
      xla.require(self)
    variable = keras.Variable(_initial(256))
    optimizer.build([variable])
    gradients = np.random.default_rng(1).normal(size=(200, 256))
    gradients = tf.constant(gradients, "float32")

    def train():
      for i in tf.range(200):
        optimizer.apply([gradients[i]])

    if way != "eager":
      train = tf.function(train, jit_compile=way == "xla")
    train()
    return variable

  @parameterized.parameters(
    ("eager", "maintain"),
    ("graph", "maintain"),
    ("xla", "maintain"),
    ("graph", "interpolate"),
  )
  def test_0_returns_to_the_initial_weights(self, way, inner_state):
    inner = keras.optimizers.SGD(0.1, momentum=0.9)
    optimizer = Lookahead(inner, 1, 0.0, inner_state=inner_state)
    variable = self._train(optimizer, way)
    self.assertAllEqual(variable, _initial(256))
    self.assertAllEqual(optimizer.slow_weights[0], _initial(256))
    if inner_state == "interpolate":
      self.assertAllEqual(inner.momentums[0], np.zeros(256))

  @parameterized.parameters("graph", "xla")
  def test_1_is_the_inner_optimizer_alone(self, way):
    sgds = [keras.optimizers.SGD(0.1, momentum=0.9) for _ in range(2)]
    expected = self._train(sgds[0], way)
    found = self._train(Lookahead(sgds[1], 1, 1.0), way)
    self.assertAllEqual(found, expected)


class GradientsTest(TestCase):
  def test_without_variables_before_the_build(self):
    with self.assertRaisesRegex(ValueError, "trainable_variables=None"):
      Lookahead("sgd").apply([tf.ones(1)])

  def test_too_many(self):
    optimizer = Lookahead("sgd")
    optimizer.build([keras.Variable([1.0])])
    with self.assertRaisesRegex(ValueError, "`grads`.* 1 .*2 gradients"):
      optimizer.apply([tf.ones(1), tf.ones(1)])

  def test_go_to_the_variables_of_lookahead(self):
    # Whose order need not be that of the inner optimizer.
    first, second = keras.Variable([1.0]), keras.Variable([1.0])
    inner = keras.optimizers.SGD(1.0)
    inner.build([second, first])
    optimizer = Lookahead(inner)
    optimizer.build([first, second])
    optimizer.apply([tf.constant([0.25]), tf.constant([0.5])])
    self.assertAllEqual(first, [0.75])
    self.assertAllEqual(second, [0.5])


class VariablesTest(TestCase):
  def test_slow_weights_start_at_the_weights_also_within_a_trace(self):
    variables = noisy_quadratic.variables()
    optimizer = Lookahead("sgd")

    @tf.function
    def first_step():
      optimizer.apply([tf.ones_like(v.value) for v in variables], variables)

    initial = values(variables)
    first_step()
    self.assertSame(optimizer.slow_weights, initial)

  def test_slow_weights_are_no_aliases(self):
    variables = noisy_quadratic.variables()
    optimizer = Lookahead("sgd", sync_period=1)
    train(optimizer, variables, 2)
    before = values(optimizer.slow_weights)
    variables[0].assign(tf.zeros((3, 4)))
    self.assertSame(optimizer.slow_weights, before)

  def test_variables_are_own_then_inner_each_once(self):
    variables = noisy_quadratic.variables()
    optimizer = Lookahead("adam", name="lookahead")
    optimizer.build(variables)
    names = [v.path for v in optimizer.variables]
    self.assertLen(set(names), len(names))
    self.assertEqual(
      names[:6],
      [
        "lookahead/iteration",
        "lookahead/sync_period",
        "lookahead/updates_in_period",
        "lookahead/slow_step_size",
        "lookahead/kernel_slow",
        "lookahead/bias_slow",
      ],
    )
    self.assertEqual(
      names[6:], [v.path for v in optimizer.inner_optimizer.variables]
    )

  def test_excluded_variables_are_left_to_the_inner_optimizer(self):
    for inner_state in ("maintain", "interpolate", "reset"):
      bare, wrapped = noisy_quadratic.variables(), noisy_quadratic.variables()
      train(keras.optimizers.Adam(0.1), bare, 7)
      optimizer = Lookahead(
        keras.optimizers.Adam(0.1),
        sync_period=2,
        inner_state=inner_state,
        exclude="bias",
      )
      train(optimizer, wrapped, 7)
      self.assertIsNone(optimizer.slow_weights[1])
      self.assertSame(wrapped[1:], bare[1:])
      if inner_state == "maintain":
        expected, _ = algorithm1.lookahead(
          algorithm1.Adam(0.1),
          noisy_quadratic.gradient,
          noisy_quadratic.initial(),
          steps=7,
          k=2,
          alpha=0.5,
          excluded=[1],
        )
        self.assertNear(wrapped, expected, 2e-5)
      self.assertNotAllClose(bare[0], wrapped[0])

  def test_pattern_without_a_match_warns(self):
    optimizer = Lookahead("sgd", exclude=["gamma"])
    with self.assertWarnsRegex(UserWarning, "'gamma'"):
      optimizer.build(noisy_quadratic.variables())

  def test_gradient_accumulation_counts_updates(self):
    inner = keras.optimizers.SGD(0.1, gradient_accumulation_steps=3)
    optimizer = Lookahead(inner, sync_period=2, slow_step_size=0.5)
    variable = keras.Variable([1.0])
    seen = []
    for _ in range(7):
      optimizer.apply([tf.ones(1)], [variable])
      seen.append(variable.numpy()[0])
    self.assertAllClose(seen, [1, 1, 0.9, 0.9, 0.9, 0.9, 0.9])
    self.assertEqual(int(optimizer.iterations), 2)

  def test_the_end_of_data_of_unknown_size_is_no_update(self):
    # It is an error in the middle of a step, at the end of each epoch.
    def examples():
      for _ in range(7):
        yield np.ones(2, "float32"), np.ones(1, "float32")

    specs = (tf.TensorSpec((2,)), tf.TensorSpec((1,)))
    data = tf.data.Dataset.from_generator(examples, output_signature=specs)
    results = []
    for wrap in (lambda inner: inner, lambda inner: Lookahead(inner, 3, 1.0)):
      dense = keras.layers.Dense(1, kernel_initializer="ones")
      model = keras.Sequential([keras.Input((2,)), dense])
      optimizer = wrap(keras.optimizers.SGD(0.01))
      model.compile(optimizer, "mse", jit_compile=False)
      model.fit(data.batch(1), epochs=3, verbose=0)
      results.append(dense.kernel.numpy())
    self.assertAllClose(*results, rtol=1e-6)
    self.assertEqual(int(optimizer.periods_done), 7)
    self.assertEqual(int(optimizer.iterations), 21)

  def test_constraint_holds_after_a_synchronization(self):
    layer = keras.layers.Dense(
      3, use_bias=False, kernel_constraint=keras.constraints.UnitNorm(axis=0)
    )
    layer.build((None, 4))
    kernel = layer.kernel
    kernel.assign(kernel.constraint(kernel))
    optimizer = Lookahead(keras.optimizers.SGD(0.5), sync_period=2)
    for _ in range(2):
      optimizer.apply([tf.random.stateless_normal((4, 3), (0, 1))], [kernel])
    self.assertAllClose(tf.norm(kernel.value, axis=0), np.ones(3))

  def test_plain_tf_variables(self):
    variable = tf.Variable([1.0, 2.0])
    optimizer = Lookahead(keras.optimizers.SGD(0.1), sync_period=1)
    optimizer.apply_gradients([(tf.ones(2), variable)])
    self.assertAllClose(variable, [0.95, 1.95])


class StartPeriodTest(TestCase):
  @parameterized.parameters("maintain", "interpolate", "reset")
  def test_goes_on_as_from_a_new_start(self, inner_state):
    # Moved away in the middle of a period: as a Lookahead that is made there
    # around the same inner optimizer.
    variables, others = noisy_quadratic.variables(), noisy_quadratic.variables()
    inner, other_inner = (
      keras.optimizers.SGD(0.1, momentum=0.9) for _ in range(2)
    )
    optimizer = Lookahead(inner, 3, 0.5, inner_state=inner_state)
    train(optimizer, variables, 2)
    train(other_inner, others, 2)
    for variable in variables + others:
      variable.assign(tf.ones_like(variable.value))
    optimizer.start_period()
    train(optimizer, variables, 7, first_step=2)
    other = Lookahead(other_inner, 3, 0.5, inner_state=inner_state)
    train(other, others, 7, first_step=2)
    self.assertNear(variables, others)
    self.assertNear(optimizer.slow_weights, other.slow_weights)

  def test_loaded_weights_are_not_dragged_back(self):
    variable = keras.Variable([1.0])
    optimizer = Lookahead(keras.optimizers.SGD(0.1), 2, 0.5)
    train(optimizer, [variable], 1)
    variable.assign([100.0])
    optimizer.start_period()
    for _ in range(2):
      optimizer.apply([tf.zeros(1)])
    self.assertAllEqual(variable, [100.0])

  def test_before_the_build(self):
    with self.assertRaisesRegex(ValueError, "start_period.*built"):
      Lookahead("sgd").start_period()


class InnerOptimizerTest(TestCase):
  def test_is_a_keras_optimizer(self):
    self.assertIsInstance(Lookahead("sgd"), tf.keras.optimizers.Optimizer)
    self.assertIsInstance(Lookahead("sgd"), keras.optimizers.Optimizer)

  def test_learning_rate_reaches_the_inner_optimizer(self):
    optimizer = Lookahead(keras.optimizers.SGD(0.1))
    self.assertAllClose(optimizer.learning_rate, 0.1)
    optimizer.learning_rate = 0.025
    self.assertAllClose(optimizer.inner_optimizer.learning_rate, 0.025)

  def test_learning_rate_schedule(self):
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay(
      [1, 3], [1.0, 0.1, 0.01]
    )
    optimizer = Lookahead(keras.optimizers.SGD(schedule))
    variable = keras.Variable(0.0)
    rates = []
    for _ in range(4):
      rates.append(float(optimizer.learning_rate))
      optimizer.apply([tf.constant(1.0)], [variable])
    self.assertAllClose(rates, [1.0, 1.0, 0.1, 0.1])

  def test_loss_scale_factor_and_finalize_reach_the_inner_optimizer(self):
    inner = keras.optimizers.SGD(1.0, use_ema=True, ema_momentum=0.5)
    optimizer = Lookahead(inner, sync_period=10)
    optimizer.loss_scale_factor = 8.0
    self.assertAllClose(optimizer.scale_loss(2.0), 16.0)
    variable = keras.Variable(0.0)
    for _ in range(3):
      optimizer.apply([tf.constant(8.0)], [variable])
    optimizer.finalize_variable_values([variable])
    self.assertAllClose(variable, -2.25)  # of -1, -2 and -3

  def test_iterations(self):
    optimizer = Lookahead("sgd", sync_period=2)
    variable = keras.Variable(0.0)
    for _ in range(3):
      returned = optimizer.apply_gradients([(tf.constant(1.0), variable)])
    self.assertEqual(int(optimizer.iterations), 3)
    self.assertEqual(int(returned), 3)

  def test_an_inner_optimizer_of_another_model_is_refused(self):
    inner = keras.optimizers.SGD(0.1)
    Lookahead(inner).build(noisy_quadratic.variables())
    with self.assertRaisesRegex(ValueError, "inner_optimizer=.*SGD"):
      Lookahead(inner).build(noisy_quadratic.variables())

  def test_a_variable_of_another_model_is_refused(self):
    optimizer = Lookahead("sgd", sync_period=2, name="mine")
    ours, others = keras.Variable(1.0, name="a"), keras.Variable(2.0, name="b")
    optimizer.build([ours])
    for call in (
      lambda: optimizer.apply([tf.constant(1.0)], [others]),
      lambda: optimizer.finalize_variable_values([others]),
      lambda: optimizer.slow_of(others),
    ):
      with self.assertRaisesRegex(ValueError, "'mine'.* b, .*new optimizer"):
        call()
    # MultiOptimizer lets each of its members finish for all variables.
    optimizer.finalize_variable_values([others, ours])

  def test_one_optimizer_for_two_models_is_refused(self):
    optimizer = Lookahead("sgd", sync_period=2)
    first, second = small_model.make(optimizer), small_model.make(optimizer)
    small_model.train(first, 0, 3)
    before = small_model.values(first.weights)
    with self.assertRaisesRegex(ValueError, "another model.*new optimizer"):
      small_model.train(second, 0, 3)
    self.assertSame(first.weights, before)

  def test_the_inner_optimizer_is_given_once(self):
    optimizer = Lookahead("sgd")
    with self.assertRaisesRegex(AttributeError, "`inner_optimizer`.*='adam'"):
      optimizer.inner_optimizer = "adam"

  def test_no_gradients_is_the_inner_optimizers_error(self):
    with self.assertRaisesRegex(ValueError, "[Nn]o gradients"):
      Lookahead("sgd").apply([None], [keras.Variable(0.0)])


class ConfigTest(TestCase):
  def test_numbers_are_exact_in_float64(self):
    self.addCleanup(keras.config.set_floatx, keras.config.floatx())
    keras.config.set_floatx("float64")
    optimizer = Lookahead("sgd", slow_step_size=0.3, slow_momentum=0.7)
    self.assertEqual(float(optimizer.last_step_size), 0.3)
    self.assertEqual(optimizer.slow_momentum, 0.7)

  def test_numbers_are_those_given(self):
    for step_size in (0.0, 0.1, 0.8, 1.0):
      optimizer = Lookahead("sgd", slow_step_size=step_size)
      self.assertEqual(optimizer.slow_step_size, step_size)
      self.assertEqual(optimizer.get_config()["slow_step_size"], step_size)

  def test_round_trip_leaves_the_config_unchanged(self):
    optimizer = Lookahead(
      keras.optimizers.Adam(0.01, beta_1=0.8),
      sync_period=7,
      slow_step_size=0.25,
      inner_state="reset",
      exclude=["bias$"],
      name="mine",
    )
    config = optimizer.get_config()
    first = Lookahead.from_config(config)
    second = Lookahead.from_config(config)
    for copy in (first, second):
      self.assertEqual(copy.get_config(), optimizer.get_config())
      self.assertIsNot(copy.inner_optimizer, optimizer.inner_optimizer)
    self.assertIsNot(first.inner_optimizer, second.inner_optimizer)

  def test_keras_serialization(self):
    optimizer = Lookahead("lion", sync_period=3)
    config = keras.optimizers.serialize(optimizer)
    copy = keras.optimizers.deserialize(config)
    self.assertIsInstance(copy, Lookahead)
    self.assertEqual(copy.get_config(), optimizer.get_config())


if __name__ == "__main__":
  tf.test.main()
