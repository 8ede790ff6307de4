"""The optimizer against NumPy, on whichever backend Keras has.

KERAS_BACKEND=jax python -m pytest tests/lookahead_tf/numerics_test.py
"""

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from keras import ops

import lookahead_tf
from lookahead_tf import Lookahead
from tests import xla
from tests.lookahead_tf import algorithm1

BACKEND = keras.backend.backend()
INNER = {
  "sgd": (lambda: keras.optimizers.SGD(0.1), lambda: algorithm1.Sgd(0.1)),
  "momentum": (
    lambda: keras.optimizers.SGD(0.1, momentum=0.9),
    lambda: algorithm1.Sgd(0.1, 0.9),
  ),
  "adam": (lambda: keras.optimizers.Adam(0.1), lambda: algorithm1.Adam(0.1)),
}


def _gradient(weights, step):
  """The gradient of a noisy quadratic: another centre at each step."""
  return [
    (np.arange(w.size).reshape(w.shape) % 3 + 1.0)
    * (w - np.sin(step + np.arange(w.size).reshape(w.shape)))
    for w in weights
  ]


def _variables():
  rng = np.random.default_rng(0)
  return [
    keras.Variable(rng.normal(size=shape), dtype="float32", name=name)
    for name, shape in (("kernel", (3, 4)), ("bias", (4,)))
  ]


def _values(variables):
  return [ops.convert_to_numpy(v) for v in variables]


def _tensors(arrays):
  return [ops.convert_to_tensor(a, "float32") for a in arrays]


def _train(optimizer, variables, steps, first_step=0):
  for step in range(first_step, first_step + steps):
    gradients = _tensors(_gradient(_values(variables), step))
    optimizer.apply(gradients, variables)


def _train_stateless(optimizer, variables, steps):
  """Trains copies of the variables' values; returns (weights, state)."""
  optimizer.build(variables)
  step_function = optimizer.stateless_apply
  if BACKEND == "jax":
    import jax

    step_function = jax.jit(step_function)
  state = [v.value for v in optimizer.variables]
  weights = [v.value for v in variables]
  for step in range(steps):
    gradients = _tensors(_gradient(_values(weights), step))
    weights, state = step_function(state, gradients, weights)
  return weights, state


class Algorithm1Test(tf.test.TestCase, parameterized.TestCase):
  def assertClose(self, actual, expected):
    self.assertAllClose(_values(actual), expected, 2e-5, 2e-5)

  @parameterized.product(
    inner=list(INNER),
    k=[1, 2, 5],
    alpha=[0.0, 0.5, 0.8, 1.0],
    inner_state=["maintain", "interpolate", "reset"],
  )
  def test_apply(self, inner, k, alpha, inner_state):
    make_keras, make_numpy = INNER[inner]
    variables = _variables()
    initial = [w.astype("float64") for w in _values(variables)]
    steps = 3 * k + k // 2
    optimizer = Lookahead(make_keras(), k, alpha, inner_state=inner_state)
    _train(optimizer, variables, steps)
    fast, slow = algorithm1.lookahead(
      make_numpy(), _gradient, initial, steps, k, alpha, inner_state
    )
    self.assertClose(variables, fast)
    self.assertClose(optimizer.slow_weights, slow)

  @parameterized.product(
    inner=list(INNER), inner_state=["maintain", "interpolate", "reset"]
  )
  def test_stateless_apply(self, inner, inner_state):
    if BACKEND == "tensorflow":
      self.skipTest("Keras has no stateless_apply for TensorFlow")
    make_keras, make_numpy = INNER[inner]
    variables = _variables()
    initial = [w.astype("float64") for w in _values(variables)]
    optimizer = Lookahead(make_keras(), 3, 0.8, inner_state=inner_state)
    weights, state = _train_stateless(optimizer, variables, 11)
    fast, slow = algorithm1.lookahead(
      make_numpy(), _gradient, initial, 11, 3, 0.8, inner_state
    )
    self.assertClose(weights, fast)
    first = [v is optimizer.slow_weights[0] for v in optimizer.variables]
    first = first.index(True)
    self.assertClose(state[first : first + 2], slow)

  @parameterized.product(inner=list(INNER), jit_compile=[False, True])
  def test_fit(self, inner, jit_compile):
    if BACKEND == "torch" and jit_compile:
      self.skipTest("it would need a C++ compiler")
    if BACKEND == "tensorflow" and jit_compile:
      xla.require(self)
    make_keras, make_numpy = INNER[inner]
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
      [keras.Input((3,)), keras.layers.Dense(2, use_bias=False)]
    )
    rng = np.random.default_rng(2)
    x = rng.normal(size=(11, 4, 3))
    y = rng.normal(size=(11, 4, 2))

    def gradient(weights, step):
      return [x[step].T @ (x[step] @ weights[0] - y[step]) * 2 / y[step].size]

    initial = [w.astype("float64") for w in model.get_weights()]
    optimizer = Lookahead(make_keras(), 3, 0.8)
    model.compile(optimizer, loss="mse", jit_compile=jit_compile)
    model.fit(
      x.reshape(-1, 3), y.reshape(-1, 2), batch_size=4, shuffle=False, verbose=0
    )
    _, slow = algorithm1.lookahead(make_numpy(), gradient, initial, 11, 3, 0.8)
    self.assertClose(model.trainable_variables, slow)
    self.assertClose(optimizer.slow_weights, slow)

  @parameterized.parameters(1.0, 0.1, 0.01, 0.001, 1e-4)
  def test_heavy_ball_on_a_quadratic(self, h):
    # The linear map of one period that the paper's analysis builds on.
    gamma, beta, k, alpha, periods = 1.0, 0.99, 20, 0.5, 3
    step = np.array([[1 - gamma * h, beta], [-gamma * h, beta]])
    period = np.diag([alpha, 1]) @ np.linalg.matrix_power(step, k)
    period += np.diag([1 - alpha, 0])
    expected = np.linalg.matrix_power(period, periods) @ [1.0, 0.0]
    theta = keras.Variable(1.0)
    inner = keras.optimizers.SGD(gamma, momentum=beta)
    optimizer = Lookahead(inner, k, alpha)
    for _ in range(periods * k):
      optimizer.apply([ops.convert_to_tensor(h) * theta.value], [theta])
    state = _values([theta, inner.momentums[0]])
    self.assertAllClose(state, expected, rtol=1e-3, atol=1e-4)

  def test_alpha_1_is_the_inner_optimizer_to_the_bit(self):
    bare, wrapped = _variables(), _variables()
    _train(keras.optimizers.Adam(0.1), bare, 12)
    _train(Lookahead(keras.optimizers.Adam(0.1), 5, 1.0), wrapped, 12)
    for one, other in zip(_values(bare), _values(wrapped)):
      self.assertAllEqual(one, other)

  def test_start_of_a_period_leaves_any_weight_as_it_is(self):
    weights = np.array([np.inf, -np.inf, -0.0, 1e-30, 1.5], "float32")
    variable = keras.Variable(weights, dtype="float32", name="weights")
    optimizer = Lookahead(keras.optimizers.SGD(0.1), 3, 0.3)
    optimizer.apply(_tensors([np.zeros(5)]), [variable])
    self.assertAllEqual(_values([variable])[0], weights)
    self.assertAllEqual(_values(optimizer.slow_weights)[0], weights)


class FitTest(tf.test.TestCase, parameterized.TestCase):
  """What `fit` does with the variables of each backend."""

  def setUp(self):
    super().setUp()
    keras.utils.set_random_seed(1)
    rng = np.random.default_rng(2)
    self.x, self.y = rng.normal(size=(2, 32, 3)).astype("float32")
    self.model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
    self.model.compile(Lookahead(keras.optimizers.SGD(0.1), 3), loss="mse")

  def _fit(self, *callbacks, **arguments):
    self.model.fit(
      self.x,
      self.y,
      batch_size=8,
      verbose=0,
      callbacks=list(callbacks),
      **arguments,
    )

  def assertHoldsSlowWeights(self):
    optimizer = self.model.optimizer
    for fast, slow in zip(self.model.weights, optimizer.slow_weights):
      self.assertAllEqual(*_values([fast, slow]))

  @parameterized.parameters(3, 4)
  def test_two_calls(self, period):
    self.model.optimizer.sync_period = period
    for _ in range(2):
      self._fit()
      self.assertHoldsSlowWeights()

  def test_slow_weights_between_steps(self):
    self._fit()
    self.model.train_on_batch(self.x, self.y)
    fast = _values(self.model.weights)
    with lookahead_tf.slow_weights(self.model):
      self.assertHoldsSlowWeights()
      self.model.evaluate(self.x, self.y, verbose=0)
    for value, expected in zip(_values(self.model.weights), fast):
      self.assertAllEqual(value, expected)
    self.model.train_on_batch(self.x, self.y)
    self._fit()

  def test_callbacks(self):
    early = keras.callbacks.EarlyStopping(
      "loss", patience=0, min_delta=1e9, restore_best_weights=True
    )
    logs = self.get_temp_dir()
    callbacks = [
      lookahead_tf.SwapSlowWeights(),
      lookahead_tf.LogSlowWeights(logs),
      early,
    ]
    data = (self.x, self.y)
    self._fit(*callbacks, validation_data=data, epochs=3)
    self._fit(lookahead_tf.SwapSlowWeights(), validation_data=data)
    self.assertHoldsSlowWeights()

  def test_an_error_of_the_user_is_seen(self):
    self._fit()
    self.y = np.zeros((32, 7), "float32")
    with self.assertRaisesRegex(Exception, "7"):
      self._fit()


class StepSizeTest(tf.test.TestCase, parameterized.TestCase):
  def test_schedule_over_periods(self):
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay(
      [0, 1], [0.2, 0.4, 1.6]
    )
    variable = keras.Variable([0.0])
    optimizer = Lookahead(keras.optimizers.SGD(1.0), 2, schedule)
    expected = 0.0
    for alpha in (0.2, 0.4, 1.0, 1.0):  # Clipped.
      self.assertEqual(optimizer.slow_step_size, alpha)
      for _ in range(2):
        optimizer.apply([-ops.ones((1,))], [variable])
      expected += alpha * 2
      self.assertAllClose(_values([variable])[0], [expected])

  def test_is_not_to_be_assigned_to(self):
    rules = [
      keras.optimizers.schedules.ExponentialDecay(0.5, 10, 0.9),
      lookahead_tf.AdaptiveStepSize(0.5),
    ]
    for rule in rules:
      optimizer = Lookahead("adam", slow_step_size=rule)
      self.assertEqual(optimizer.slow_step_size, 0.5)
      with self.assertRaisesRegex(TypeError, "only if the optimizer was made"):
        optimizer.slow_step_size = 0.25
      copy = Lookahead.from_config(optimizer.get_config())
      self.assertEqual(copy.get_config(), optimizer.get_config())

  def test_mistakes(self):
    adaptive = lookahead_tf.AdaptiveStepSize()
    with self.assertRaisesRegex(ValueError, "second-moment.*SGD"):
      Lookahead("sgd", slow_step_size=adaptive)
    with self.assertRaisesRegex(ValueError, "`lower` must be in.*lower=2"):
      lookahead_tf.AdaptiveStepSize(2)
    schedule = keras.optimizers.schedules.ExponentialDecay(50.0, 10, 0.9)
    with self.assertRaisesRegex(ValueError, "starts at 50"):
      Lookahead("sgd", slow_step_size=schedule)

  @parameterized.parameters(False, True)
  def test_adaptive(self, inner_is_built):
    # The formula of the class, in NumPy, around NumPy's Adam.
    variables = _variables()
    phi = [w.astype("float64") for w in _values(variables)]
    adam = keras.optimizers.Adam(0.3)
    if inner_is_built:
      adam.build(variables[::-1])  # By other code, in another order.
    optimizer = Lookahead(adam, 3, lookahead_tf.AdaptiveStepSize(0.1))
    inner, theta, alphas = algorithm1.Adam(0.3), phi, []
    for step in range(12):
      gradient = _gradient(theta, step)
      theta = inner.update(theta, gradient)
      optimizer.apply(_tensors(gradient), variables)
      if (step + 1) % 3 == 0:
        moments = [v / (1 - 0.999**inner.step) for v in inner.slots[2:]]
        d = [p - t for p, t in zip(phi, theta)]
        slope = sum((a * g).sum() for a, g in zip(d, gradient))
        curvature = sum((a * a * v).sum() for a, v in zip(d, moments))
        alphas.append(np.clip(1 + slope / curvature, 0.1, 1.0))
        theta = phi = [p - alphas[-1] * a for p, a in zip(phi, d)]
        self.assertAllClose(optimizer.slow_step_size, alphas[-1], 1e-4, 1e-4)
      self.assertAllClose(_values(variables), theta, 1e-4, 1e-4)
    self.assertGreater(len(set(np.round(alphas, 2))), 2)


if __name__ == "__main__":
  tf.test.main()
