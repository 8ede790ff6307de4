"""Options of the inner optimizer, optimizers in optimizers, strategies."""

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import lookahead_tf
from lookahead_tf import Lookahead
from tests import replicas, xla
from tests.lookahead_tf import keras_optimizers

K, ALPHA, STEPS = 3, 0.5, 11
_rng = np.random.default_rng(0)
X = _rng.normal(size=(STEPS, 8, 4)).astype("float32")
Y = np.tanh(X @ _rng.normal(size=(4, 2))).astype("float32")


def _model(dtype="float32", **dense):
  keras.utils.set_random_seed(1)
  return keras.Sequential(
    [
      keras.Input((4,), dtype=dtype),
      keras.layers.Dense(3, activation="tanh", name="hidden", dtype=dtype),
      keras.layers.Dense(2, name="output", dtype=dtype, **dense),
    ]
  )


def _values(variables):
  return [np.array(v) for v in variables]


def _gradients(model, step):
  with tf.GradientTape() as tape:
    loss = tf.reduce_mean((model(X[step]) - Y[step]) ** 2)
  return tape.gradient(loss, model.trainable_variables)


def _train(model, optimizer, steps=STEPS, change=lambda gradients, step: None):
  for step in range(steps):
    gradients = _gradients(model, step)
    change(gradients, step)
    optimizer.apply(gradients, model.trainable_variables)


def _reference(inner, accumulate=1, change=lambda gradients, step: None):
  """Trains by the two loops of Algorithm 1 around a bare optimizer."""
  model = _model()
  phi = _values(model.weights)
  for step in range(STEPS):
    gradients = _gradients(model, step)
    change(gradients, step)
    inner.apply(gradients, model.trainable_variables)
    if (step + 1) % (K * accumulate) == 0:
      theta = _values(model.weights)
      phi = [p + np.float32(ALPHA) * (t - p) for p, t in zip(phi, theta)]
      for variable, value in zip(model.weights, phi):
        variable.assign(value)
  return _values(model.weights)


class InnerOptionsTest(tf.test.TestCase, parameterized.TestCase):
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
    make = lambda: keras.optimizers.Adam(0.1, **options)  # noqa: E731
    inner, bare, model = make(), make(), _model()
    _train(model, Lookahead(inner, K, ALPHA))
    expected = _reference(bare, options.get("gradient_accumulation_steps", 1))
    self.assertAllClose(_values(model.weights), expected, 1e-5, 1e-5)
    if "use_ema" in options:
      self.assertAllClose(
        _values(inner._model_variables_moving_average),
        _values(bare._model_variables_moving_average),
        1e-5,
        1e-5,
      )

  def test_exclude_from_weight_decay(self):
    bare, inner = (
      keras.optimizers.SGD(0.1, weight_decay=0.5) for _ in range(2)
    )
    optimizer, model = Lookahead(inner, K, ALPHA), _model()
    for one in (optimizer, bare):
      one.exclude_from_weight_decay(var_names=["bias"])
    _train(model, optimizer)
    self.assertAllClose(_values(model.weights), _reference(bare), 1e-5, 1e-5)

  def test_none_for_some_variables(self):
    def change(gradients, step):
      if step % 2:
        gradients[1] = None

    model = _model()
    _train(
      model, Lookahead(keras.optimizers.Adam(0.1), K, ALPHA), STEPS, change
    )
    expected = _reference(keras.optimizers.Adam(0.1), change=change)
    self.assertAllClose(_values(model.weights), expected, 1e-5, 1e-5)

  def test_a_nan_reaches_no_slow_weights_before_the_end_of_its_period(self):
    model, optimizer = _model(), Lookahead("sgd", K, ALPHA)
    _train(model, optimizer, K)
    phi = _values(optimizer.slow_weights)
    optimizer.apply([g * np.nan for g in _gradients(model, 0)])
    self.assertTrue(np.isnan(model.weights[0]).all())
    for slow, value in zip(optimizer.slow_weights, phi):
      self.assertAllEqual(slow, value)

  @parameterized.parameters(False, True)
  def test_sparse_gradients(self, jit_compile):
    if jit_compile:
      xla.require(self)

    def make():
      keras.utils.set_random_seed(1)
      return keras.layers.Embedding(6, 2)

    layers = [make(), make()]
    inner = [keras.optimizers.SGD(0.5, momentum=0.9) for _ in range(2)]
    optimizer = Lookahead(inner[0], 2, ALPHA)
    for layer, one in zip(layers, [optimizer, inner[1]]):
      layer.build()
      one.build(layer.trainable_variables)

    def gradients(layer, indices):
      with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(indices) ** 2)
      return tape.gradient(loss, layer.trainable_variables)

    @tf.function(jit_compile=jit_compile)
    def step(indices):
      found = gradients(layers[0], indices)
      assert isinstance(found[0], tf.IndexedSlices)
      optimizer.apply(found)

    phi = layers[1].embeddings.numpy()
    for i in range(6):
      indices = tf.constant([i % 3, i % 3, 4])
      step(indices)
      inner[1].apply(gradients(layers[1], indices))
      if i % 2:
        phi = phi + np.float32(ALPHA) * (layers[1].embeddings.numpy() - phi)
        layers[1].embeddings.assign(phi)
    self.assertAllClose(layers[0].embeddings, phi, 1e-5, 1e-5)


class PrecisionTest(tf.test.TestCase, parameterized.TestCase):
  def tearDown(self):
    keras.config.set_dtype_policy("float32")
    super().tearDown()

  def test_a_step_that_is_skipped_does_not_count(self):
    keras.config.set_dtype_policy("mixed_float16")
    model = _model(dtype=None)
    lookahead = Lookahead(keras.optimizers.SGD(0.1), K, ALPHA)
    model.compile(lookahead, loss="mse")
    self.assertIsInstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    model.train_on_batch(X[0], Y[0])
    weights = _values(model.weights)
    model.train_on_batch(X[0] * np.inf, Y[0])
    self.assertEqual(int(lookahead.iterations), 1)
    self.assertEqual(int(lookahead._updates_in_period.numpy()), 1)
    for variable, value in zip(model.weights, weights):
      self.assertAllEqual(variable, value)
    for slow in lookahead.slow_weights:
      self.assertEqual(slow.dtype, "float32")
    model.fit(X[0], Y[0], verbose=0)
    with lookahead_tf.slow_weights(model):
      model.evaluate(X[0], Y[0], verbose=0)

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
    slow = [1.0, 2.0]
    fast = np.array(slow)
    for _ in range(4):
      optimizer.apply([tf.ones(2, dtype)], [variable])
      fast = tf.cast(tf.cast(fast - 2.0**-5, dtype), "float64").numpy()
      slow = slow + 2.0**-5 * (fast - slow)
      slow = tf.cast(tf.cast(slow, expected), "float64").numpy()
      fast = tf.cast(tf.cast(slow, dtype), "float64").numpy()
    self.assertEqual(optimizer.slow_weights[0].dtype, expected)
    self.assertAllEqual(tf.cast(variable.value, "float64"), fast)
    self.assertAllEqual(
      tf.cast(optimizer.slow_weights[0].value, "float64"), slow
    )


def _nested_reference(steps, inner_k, outer_k):
  """SGD in Lookahead in Lookahead, by hand: (fast, inner slow, outer slow)."""
  fast = inner = outer = 0.0
  since_inner = 0
  for step in range(1, steps + 1):
    fast += 1.0
    since_inner += 1
    if since_inner == inner_k:
      fast = inner = inner + 0.5 * (fast - inner)
      since_inner = 0
    if step % outer_k == 0:
      fast = inner = outer = outer + 0.25 * (fast - outer)
      since_inner = 0
  return fast, inner, outer


class CompositionTest(tf.test.TestCase, parameterized.TestCase):
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
      if inner._updates_in_period.numpy() > 0:
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
    model = _model()
    model.compile(
      keras.optimizers.MultiOptimizer(
        lambda variable: first if "hidden" in variable.path else second
      ),
      loss="mse",
    )
    for _ in range(7):
      model.train_on_batch(X[0], Y[0])
    fast = _values(model.weights)
    slow = _values(first.slow_weights + second.slow_weights)
    with lookahead_tf.slow_weights(model):
      for variable, value in zip(model.weights, slow):
        self.assertAllEqual(variable, value)
    for variable, value in zip(model.weights, fast):
      self.assertAllEqual(variable, value)


class DistributionTest(tf.test.TestCase, parameterized.TestCase):
  """Two replicas with half of each batch against one device."""

  @parameterized.parameters(
    ({}, "inside"),
    ({}, "outside"),
    ({"inner_state": "interpolate"}, "inside"),
    ({"inner_state": "reset"}, "inside"),
    ({"slow_step_size": lookahead_tf.AdaptiveStepSize(0.1)}, "inside"),
    ({"slow_dtype": "float64"}, "outside"),
  )
  def test_mirrored_equals_one_device(self, arguments, place):
    strategy = replicas.mirrored()
    make = lambda: Lookahead(  # noqa: E731
      keras.optimizers.Adam(0.1), K, **arguments
    )
    expected = _model()
    one_device = make()
    _train(expected, one_device)
    optimizer = make() if place == "outside" else None
    with strategy.scope():
      model = _model()
      optimizer = optimizer or make()
      optimizer.build(model.trainable_variables)

    def replica_step(x, y):
      with tf.GradientTape() as tape:
        loss = tf.reduce_sum((model(x) - y) ** 2) / 16  # 8 rows of 2 in all.
      gradients = tape.gradient(loss, model.trainable_variables)
      optimizer.apply(gradients, model.trainable_variables)

    @tf.function
    def step(x, y):
      strategy.run(replica_step, (x, y))

    for x, y in zip(X, Y):
      halves = [
        strategy.experimental_distribute_values_from_function(
          lambda c, a=a: tf.constant(np.split(a, 2)[c.replica_id_in_sync_group])
        )
        for a in (x, y)
      ]
      step(*halves)
    self.assertAllClose(
      _values(model.weights), _values(expected.weights), 1e-4, 1e-4
    )
    self.assertAllClose(
      optimizer.slow_step_size, one_device.slow_step_size, 1e-3, 1e-3
    )
    for variable in model.weights + optimizer.slow_weights:
      one, other = strategy.experimental_local_results(variable.value)
      self.assertAllEqual(one, other)


class ExclusionTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.parameters("one", "list", "pattern")
  def test_excluded_variables_train_as_with_the_bare_optimizer(self, how):
    model, bare = _model(), _model()
    kernel = model.get_layer("hidden").kernel
    exclude = {
      "one": kernel,
      "list": [kernel, "output/bias$"],
      "pattern": "hidden/kernel$",
    }[how]
    optimizer = Lookahead(keras.optimizers.Adam(0.1), K, 0.0, exclude=exclude)
    optimizer.build(model.trainable_variables)
    excluded = [slow is None for slow in optimizer.slow_weights]
    self.assertEqual(excluded, [True, False, False, how == "list"])
    inner = keras.optimizers.Adam(0.1)
    for step in range(STEPS):
      gradients = _gradients(bare, step)
      optimizer.apply(gradients)
      inner.apply(gradients, bare.trainable_variables)
    self.assertAllEqual(kernel, bare.get_layer("hidden").kernel)

  def test_a_variable_is_saved_as_its_path(self):
    model = _model()
    optimizer = Lookahead("sgd", exclude=model.get_layer("hidden").bias)
    (pattern,) = optimizer.get_config()["exclude"]
    copy = Lookahead.from_config(optimizer.get_config())
    copy.build(model.trainable_variables)
    self.assertEqual(
      [s is None for s in copy.slow_weights], [False, True, False, False]
    )
    self.assertRegex(pattern, "hidden/bias")

  def test_a_variable_of_another_model_warns(self):
    optimizer = Lookahead("sgd", exclude=[_model().weights[0]])
    with self.assertWarnsRegex(UserWarning, "`exclude` holds"):
      optimizer.build([keras.Variable(1.0, name="alone")])


if __name__ == "__main__":
  tf.test.main()
