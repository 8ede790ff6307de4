"""Options of the inner optimizer, optimizers in optimizers, strategies."""

import warnings

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import lookahead_tf
from lookahead_tf import Lookahead
from tests import replicas, xla
from tests.lookahead_tf import algorithm1, keras_optimizers, small_model
from tests.lookahead_tf.small_model import apply, make, values
from tests.lookahead_tf.test_case import TestCase

K, ALPHA, STEPS = 3, 0.5, 11


def _reference(inner, accumulate=1, change=lambda gradients, step: None):
  """Returns the weights by Algorithm 1 around a bare optimizer."""
  variables = make().trainable_variables

  def gradient(weights, step):
    gradients = small_model.gradient(weights, step)
    change(gradients, step)
    return gradients

  fast, _ = algorithm1.lookahead(
    algorithm1.Bare(inner, variables),
    gradient,
    values(variables),
    STEPS,
    K * accumulate,
    ALPHA,
  )
  return fast


class InnerOptionsTest(TestCase):
  @parameterized.parameters(
    {"clipnorm": 0.01},
    {"clipvalue": 0.01},
    {"global_clipnorm": 0.01},
    {"weight_decay": 0.1},
    {"use_ema": True, "ema_momentum": 0.5},
    {"use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 2},
    {"gradient_accumulation_steps": 2},
    {"loss_scale_factor": 4.0},
  )
  def test_acts_as_unwrapped(self, **options):
    inner, bare = (keras.optimizers.Adam(0.1, **options) for _ in range(2))
    model = make()
    apply(model, Lookahead(inner, K, ALPHA), 0, STEPS)
    expected = _reference(bare, options.get("gradient_accumulation_steps", 1))
    self.assertNear(model.weights, expected, 1e-5)
    if "use_ema" in options:
      self.assertNear(
        inner._model_variables_moving_average,
        bare._model_variables_moving_average,
        1e-5,
      )

  def test_exclude_from_weight_decay(self):
    bare, inner = (
      keras.optimizers.SGD(0.1, weight_decay=0.5) for _ in range(2)
    )
    optimizer, model = Lookahead(inner, K, ALPHA), make()
    for one in (optimizer, bare):
      one.exclude_from_weight_decay(var_names=["bias"])
    apply(model, optimizer, 0, STEPS)
    self.assertNear(model.weights, _reference(bare), 1e-5)

  def test_none_for_some_variables(self):
    def change(gradients, step):
      if step % 2:
        gradients[1] = None

    model, optimizer = make(), Lookahead(keras.optimizers.Adam(0.1), K, ALPHA)
    apply(model, optimizer, 0, STEPS, change)
    expected = _reference(keras.optimizers.Adam(0.1), change=change)
    self.assertNear(model.weights, expected, 1e-5)

  def test_a_nan_reaches_no_slow_weights_before_the_end_of_its_period(self):
    model, optimizer = make(), Lookahead("sgd", K, ALPHA)
    apply(model, optimizer, 0, K)
    phi = values(optimizer.slow_weights)
    optimizer.apply([tf.fill(v.shape, np.nan) for v in model.weights])
    self.assertTrue(np.isnan(values(model.weights)[0]).all())
    self.assertSame(optimizer.slow_weights, phi)

  @parameterized.parameters(False, True)
  def test_sparse_gradients(self, jit_compile):
    if jit_compile:
      xla.require(self)

    layer, reference = (keras.layers.Embedding(6, 2) for _ in range(2))
    inner, bare = (keras.optimizers.SGD(0.5, momentum=0.9) for _ in range(2))
    optimizer = Lookahead(inner, 2, ALPHA)
    layer.build(), reference.build()
    optimizer.build(layer.trainable_variables)
    reference.embeddings.assign(layer.embeddings)

    def gradients(layer, step):
      with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(tf.stack([step % 3, step % 3, 4])) ** 2)
      return tape.gradient(loss, layer.trainable_variables)

    @tf.function(jit_compile=jit_compile)
    def train_step(step):
      found = gradients(layer, step)
      assert isinstance(found[0], tf.IndexedSlices)
      optimizer.apply(found)

    def gradient(weights, step):
      reference.embeddings.assign(weights[0])
      return gradients(reference, step)

    for step in range(6):
      train_step(tf.constant(step))
    (expected,), _ = algorithm1.lookahead(
      algorithm1.Bare(bare, reference.trainable_variables),
      gradient,
      values(reference.trainable_variables),
      steps=6,
      k=2,
      alpha=ALPHA,
    )
    self.assertAllClose(layer.embeddings, expected, 1e-5, 1e-5)


class PrecisionTest(TestCase):
  def tearDown(self):
    keras.config.set_dtype_policy("float32")
    super().tearDown()

  def test_a_step_that_is_skipped_does_not_count(self):
    keras.config.set_dtype_policy("mixed_float16")
    lookahead = Lookahead(keras.optimizers.SGD(0.1), K, ALPHA)
    model, (x, y) = make(lookahead), small_model.batch(0)
    self.assertIsInstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    model.train_on_batch(x, y)
    weights = values(model.weights)
    model.train_on_batch(x * np.inf, y)
    self.assertEqual(int(lookahead.iterations), 1)
    self.assertEqual(int(lookahead.updates_in_period), 1)
    self.assertSame(model.weights, weights)
    for slow in lookahead.slow_weights:
      self.assertEqual(slow.dtype, "float32")
    model.fit(x, y, verbose=0)
    with lookahead_tf.slow_weights(model):
      model.evaluate(x, y, verbose=0)

  @parameterized.parameters(
    ("float16", None, "float16"),
    ("float16", "float32", "float32"),
    ("bfloat16", None, "bfloat16"),
    ("bfloat16", "float32", "float32"),
    ("bfloat16", "float64", "float64"),
    ("float32", None, "float32"),
    ("float64", None, "float64"),
    ("float64", "float32", "float64"),
  )
  def test_slow_dtype(self, dtype, slow_dtype, expected):
    variable = keras.Variable([1.0, 2.0], dtype=dtype)
    inner = keras.optimizers.SGD(2.0**-5)
    optimizer = Lookahead(inner, 1, 2.0**-5, slow_dtype=slow_dtype)

    def stored_as(dtype):
      return lambda x: tf.cast(tf.cast(x, dtype), "float64").numpy()

    class Sgd(algorithm1.Sgd):
      def update(self, weights, gradients):
        weights = map(stored_as(dtype), weights)
        updated = super().update([*weights], gradients)
        return [*map(stored_as(dtype), updated)]

    for _ in range(4):
      optimizer.apply([tf.ones(2, dtype)], [variable])
    _, slow = algorithm1.lookahead(
      Sgd(2.0**-5),
      lambda weights, step: [np.ones(2)],
      [np.array([1.0, 2.0])],
      steps=4,
      k=1,
      alpha=2.0**-5,
      store=stored_as(expected),
    )
    self.assertEqual(optimizer.slow_weights[0].dtype, expected)
    self.assertAllEqual(
      tf.cast(variable.value, "float64"), stored_as(dtype)(slow[0])
    )
    self.assertAllEqual(
      tf.cast(optimizer.slow_weights[0].value, "float64"), slow[0]
    )


def _nested_reference(steps, inner_k, outer_k):
  """Gradient descent in Lookahead in Lookahead, by steps of 1.

  Returns:
    (fast, inner slow, outer slow).
  """
  sgd = algorithm1.Sgd(1.0)
  inner = algorithm1.Lookahead(sgd, inner_k, 0.5)
  fast, outer = algorithm1.lookahead(
    inner, lambda w, step: [-1.0], [np.float64(0)], steps, outer_k, 0.25
  )
  return fast[0], inner.phi[0], outer[0]


class CompositionTest(TestCase):
  @parameterized.product(
    inner_k=[2, 3], outer_k=[4, 5, 6], jit_compile=[False, True]
  )
  def test_lookahead_of_lookahead(self, inner_k, outer_k, jit_compile):
    if jit_compile:
      xla.require(self)
    variable = keras.Variable([0.0])
    inner = Lookahead(keras.optimizers.SGD(1.0), inner_k, 0.5)
    outer = Lookahead(inner, outer_k, 0.25)
    outer.build([variable])
    step = tf.function(
      lambda: outer.apply([-tf.ones(1)]), jit_compile=jit_compile
    )
    for steps in range(1, 16):
      step()
      fast, inner_slow, outer_slow = _nested_reference(steps, inner_k, outer_k)
      self.assertAllClose(variable, [fast])
      self.assertAllClose(outer.slow_weights[0], [outer_slow])
      if inner.updates_in_period > 0:
        self.assertAllClose(inner.slow_weights[0], [inner_slow])

  def test_finalize_of_lookahead_of_lookahead(self):
    variable = keras.Variable([0.0])
    inner = Lookahead(keras.optimizers.SGD(1.0), 2, 0.5)
    outer = Lookahead(inner, 4, 0.25)
    for _ in range(7):
      outer.apply([-tf.ones(1)], [variable])
    outer.finalize_variable_values([variable])
    self.assertAllClose(variable, outer.slow_weights[0])
    self.assertAllClose(variable, [_nested_reference(7, 2, 4)[2]])

  def test_within_a_multi_optimizer(self):
    keras_optimizers.require(self, "MultiOptimizer")
    first = Lookahead(keras.optimizers.SGD(0.1), K, ALPHA)
    second = Lookahead(keras.optimizers.Adam(0.1), 2, ALPHA)
    model = make(
      keras.optimizers.MultiOptimizer(
        lambda variable: first if "hidden" in variable.path else second
      ),
      hidden=3,
    )
    small_model.train(model, 0, 7)
    fast = values(model.weights)
    slow = values(first.slow_weights + second.slow_weights)
    with lookahead_tf.slow_weights(model):
      self.assertSame(model.weights, slow)
    self.assertSame(model.weights, fast)


class DistributionTest(TestCase):
  """Two replicas with half of each batch against one device."""

  @parameterized.parameters(
    {},
    {"inner_state": "interpolate"},
    {"inner_state": "reset"},
    {"slow_step_size": lookahead_tf.AdaptiveStepSize(0.1)},
    {"slow_dtype": "float64"},
  )
  def test_mirrored_equals_one_device(self, **arguments):
    strategy = replicas.mirrored()

    def lookahead():
      return Lookahead(keras.optimizers.Adam(0.1), K, **arguments)

    expected, one_device = make(), lookahead()
    steps = 2 * K + 1
    apply(expected, one_device, 0, steps)
    with strategy.scope():
      model, optimizer = make(), lookahead()
      optimizer.build(model.trainable_variables)

    def replica_step(x, y):
      with tf.GradientTape() as tape:
        loss = tf.reduce_sum((model(x) - y) ** 2) / 16  # 8 rows of 2 in all.
      gradients = tape.gradient(loss, model.trainable_variables)
      optimizer.apply(gradients, model.trainable_variables)

    @tf.function
    def step(x, y):
      strategy.run(replica_step, (x, y))

    for i in range(steps):
      halves = [
        strategy.experimental_distribute_values_from_function(
          lambda c, a=a: tf.constant(np.split(a, 2)[c.replica_id_in_sync_group])
        )
        for a in small_model.batch(i)
      ]
      step(*halves)
    self.assertNear(model.weights, expected.weights, 1e-4)
    self.assertAllClose(
      optimizer.slow_step_size, one_device.slow_step_size, 1e-3, 1e-3
    )
    self.assertCopiesAgree(strategy, model.weights + optimizer.slow_weights)

  @parameterized.parameters("adam", "lookahead")
  def test_made_outside_the_scope(self, outside):
    strategy = replicas.mirrored()
    adam = keras.optimizers.Adam()
    with strategy.scope():
      sgd = keras.optimizers.SGD()
    optimizer = Lookahead(sgd)
    with strategy.scope():
      model = make()
      if outside == "adam":
        optimizer = Lookahead(adam)
      message = f"'{outside}.*outside.*scope.*MirroredStrategy"
      with self.assertRaisesRegex(ValueError, message):
        optimizer.build(model.trainable_variables)
    self.assertFalse(optimizer.built)


class ExclusionTest(TestCase):
  @parameterized.parameters("one", "list", "pattern")
  def test_excluded_variables_train_as_with_the_bare_optimizer(self, how):
    model, bare = make(hidden=3), make(hidden=3)
    kernel = model.get_layer("hidden").kernel
    exclude = {
      "one": kernel,
      "list": [kernel, "out/bias$"],
      "pattern": "hidden/kernel$",
    }[how]
    optimizer = Lookahead(keras.optimizers.Adam(0.1), K, 0.0, exclude=exclude)
    optimizer.build(model.trainable_variables)
    excluded = [slow is None for slow in optimizer.slow_weights]
    self.assertEqual(excluded, [True, False, False, how == "list"])
    inner = keras.optimizers.Adam(0.1)
    for step in range(STEPS):
      gradients = small_model.tensors(
        small_model.gradient(values(bare.weights), step)
      )
      optimizer.apply(gradients)
      inner.apply(gradients, bare.trainable_variables)
    self.assertAllEqual(kernel, bare.get_layer("hidden").kernel)

  def test_a_variable_is_saved_as_its_path(self):
    model = make(hidden=3)
    optimizer = Lookahead("sgd", exclude=model.get_layer("hidden").bias)
    (pattern,) = optimizer.get_config()["exclude"]
    copy = Lookahead.from_config(optimizer.get_config())
    copy.build(model.trainable_variables)
    self.assertEqual(
      [s is None for s in copy.slow_weights], [False, True, False, False]
    )
    self.assertRegex(pattern, "hidden/bias")

  @parameterized.parameters("variable", "path", "statistics")
  def test_a_copy_excludes_the_same(self, kind):
    # Keras leaves the name of a Sequential out of the paths of a copy.
    layers = [keras.layers.Dense(3), keras.layers.BatchNormalization()]
    model = keras.Sequential(
      [keras.Input((2,)), *layers, keras.layers.Dense(1)]
    )
    statistics = {}
    if kind == "statistics" and keras.backend.backend() != "jax":
      statistics = {"statistics": model}
    exclude = {
      "variable": layers[0].kernel,
      "path": f"^{layers[0].kernel.path}$",
      "statistics": [layers[0].kernel, layers[1].moving_mean],
    }[kind]
    optimizer = Lookahead("sgd", exclude=exclude, **statistics)
    optimizer.build(model.trainable_variables)
    for _ in range(2):  # Of a copy of a copy, too.
      config = model.get_config()
      model = keras.Sequential.from_config(config)
      copy = Lookahead.from_config(optimizer.get_config())
      with warnings.catch_warnings():
        warnings.simplefilter("error")
        copy.build(model.trainable_variables)
        if statistics:
          copy.statistics = model
      self.assertEqual(
        [s is None for s in copy.slow_weights], [True] + [False] * 5
      )
      self.assertEqual(
        [s.shape for s in optimizer.variables],
        [s.shape for s in copy.variables],
      )
      if statistics:
        moved = [fast.name for fast, _ in copy.swapped()]
        self.assertIn("moving_variance", moved)
        self.assertNotIn("moving_mean", moved)
      optimizer = copy

  def test_places_are_for_as_many_variables_as_before(self):
    model = make(hidden=3)
    kernel = model.get_layer("hidden").kernel
    optimizer = Lookahead("sgd", exclude=kernel)
    optimizer.build(model.trainable_variables)
    copy = Lookahead.from_config(optimizer.get_config())
    copy.build([*model.trainable_variables[1:], kernel, keras.Variable(1.0)])
    self.assertEqual(
      [s is None for s in copy.slow_weights], [False] * 3 + [True, False]
    )

  def test_a_variable_of_the_backend_is_that_of_keras(self):
    if keras.backend.backend() != "tensorflow":
      self.skipTest("The value of a variable is no variable here.")
    model = make()
    optimizer = Lookahead("sgd", exclude=[model.weights[1].value])
    optimizer.build(model.trainable_variables)
    self.assertIsNone(optimizer.slow_of(model.weights[1]))
    self.assertIsNotNone(optimizer.slow_of(model.weights[0]))

  def test_a_variable_of_another_model_warns(self):
    optimizer = Lookahead("sgd", exclude=[make().weights[0]])
    with self.assertWarnsRegex(UserWarning, "`exclude`.*kernel"):
      optimizer.build([keras.Variable(1.0, name="alone")])


if __name__ == "__main__":
  tf.test.main()
