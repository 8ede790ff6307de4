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
from tests.lookahead_tf import (
  algorithm1,
  noisy_quadratic,
  small_model,
  ways_to_run,
)
from tests.lookahead_tf.small_model import tensors, values
from tests.lookahead_tf.test_case import TestCase

INNER = {
  "sgd": (lambda: keras.optimizers.SGD(0.1), lambda: algorithm1.Sgd(0.1)),
  "momentum": (
    lambda: keras.optimizers.SGD(0.1, momentum=0.9),
    lambda: algorithm1.Sgd(0.1, 0.9),
  ),
  "adam": (lambda: keras.optimizers.Adam(0.1), lambda: algorithm1.Adam(0.1)),
}


class Algorithm1Test(TestCase):
  def assertIsAlgorithm1(
    self, fast, slow, inner, k=3, alpha=0.8, steps=11, **options
  ):
    """Compares weights with NumPy's from the start of the noisy quadratic."""
    _, make_numpy = INNER[inner]
    expected_fast, expected_slow = algorithm1.lookahead(
      make_numpy(),
      noisy_quadratic.gradient,
      noisy_quadratic.initial(),
      steps,
      k,
      alpha,
      **options,
    )
    self.assertNear(fast, expected_fast, 2e-5)
    self.assertNear(slow, expected_slow, 2e-5)

  @parameterized.product(
    inner=list(INNER),
    k=[1, 2, 5],
    alpha=[0.0, 0.5, 0.8, 1.0],
    inner_state=["maintain", "interpolate", "reset"],
  )
  def test_apply(self, inner, k, alpha, inner_state):
    make_keras, _ = INNER[inner]
    variables, steps = noisy_quadratic.variables(), 2 * k + 1
    optimizer = Lookahead(make_keras(), k, alpha, inner_state=inner_state)
    noisy_quadratic.train(optimizer, variables, steps)
    self.assertIsAlgorithm1(
      variables,
      optimizer.slow_weights,
      inner,
      k,
      alpha,
      steps,
      inner_state=inner_state,
    )

  @parameterized.product(
    inner=list(INNER), inner_state=["maintain", "interpolate", "reset"]
  )
  def test_stateless_apply(self, inner, inner_state):
    ways_to_run.require(self, "stateless")
    make_keras, _ = INNER[inner]
    optimizer = Lookahead(make_keras(), 3, 0.8, inner_state=inner_state)
    variables = noisy_quadratic.variables()
    apply = ways_to_run.apply_stateless
    if ways_to_run.BACKEND == "jax":
      apply = ways_to_run.apply_stateless_jit
    apply(optimizer, variables, noisy_quadratic.gradient, 11)
    self.assertIsAlgorithm1(
      variables, optimizer.slow_weights, inner, inner_state=inner_state
    )

  @parameterized.product(inner=list(INNER), way=["fit", "fit_xla"])
  def test_fit(self, inner, way):
    ways_to_run.require(self, way)
    make_keras, make_numpy = INNER[inner]
    model, optimizer = small_model.make(), Lookahead(make_keras(), 3, 0.8)
    initial = [w.astype("float64") for w in model.get_weights()]
    ways_to_run.WAYS[way](model, optimizer)
    _, slow = algorithm1.lookahead(
      make_numpy(), small_model.gradient, initial, ways_to_run.STEPS, 3, 0.8
    )
    self.assertNear(model.trainable_variables, slow, 2e-5)
    self.assertNear(optimizer.slow_weights, slow, 2e-5)

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
    state = values([theta, inner.momentums[0]])
    self.assertAllClose(state, expected, rtol=1e-3, atol=1e-4)

  def test_alpha_1_is_the_inner_optimizer_to_the_bit(self):
    bare, wrapped = (noisy_quadratic.variables() for _ in range(2))
    adam = keras.optimizers.Adam(0.1)
    noisy_quadratic.train(adam, bare, 12)
    lookahead = Lookahead(keras.optimizers.Adam(0.1), 5, 1.0)
    noisy_quadratic.train(lookahead, wrapped, 12)
    self.assertSame(wrapped, bare)

  def test_start_of_a_period_leaves_any_weight_as_it_is(self):
    weights = np.array([np.inf, -np.inf, -0.0, 1e-30, 1.5], "float32")
    variable = keras.Variable(weights, dtype="float32", name="weights")
    optimizer = Lookahead(keras.optimizers.SGD(0.1), 3, 0.3)
    optimizer.apply(tensors([np.zeros(5)]), [variable])
    self.assertAllEqual(values([variable])[0], weights)
    self.assertAllEqual(values(optimizer.slow_weights)[0], weights)


class FitTest(TestCase):
  """What `fit` does with the variables of each backend."""

  def setUp(self):
    super().setUp()
    self.model = small_model.make(
      Lookahead(keras.optimizers.SGD(0.1), 3), build_optimizer=False
    )
    self.x, self.y = small_model.X[:32], small_model.Y[:32]

  def _fit(self, *callbacks, **arguments):
    small_model.fit(self.model, 4, callbacks=[*callbacks], **arguments)

  def assertHoldsSlowWeights(self):
    optimizer = self.model.optimizer
    self.assertSame(self.model.weights, optimizer.slow_weights)

  @parameterized.parameters(3, 4)
  def test_two_calls(self, period):
    self.model.optimizer.sync_period = period
    for _ in range(2):
      self._fit()
      self.assertHoldsSlowWeights()

  def test_slow_weights_between_steps(self):
    self._fit()
    self.model.train_on_batch(self.x, self.y)
    fast = values(self.model.weights)
    with lookahead_tf.slow_weights(self.model):
      self.assertHoldsSlowWeights()
      self.model.evaluate(self.x, self.y, verbose=0)
    self.assertSame(self.model.weights, fast)
    self.model.train_on_batch(self.x, self.y)
    self._fit()

  def test_callbacks(self):
    early = keras.callbacks.EarlyStopping(
      "loss", patience=0, min_delta=1e9, restore_best_weights=True
    )
    logs = self.new_path()
    callbacks = [
      lookahead_tf.SwapSlowWeights(),
      lookahead_tf.LogSlowWeights(logs),
      early,
    ]
    self._fit(*callbacks, validate=True, epochs=3)
    self._fit(lookahead_tf.SwapSlowWeights(), validate=True)
    self.assertHoldsSlowWeights()

  def test_an_error_of_the_user_is_seen(self):
    self._fit()
    with self.assertRaisesRegex(Exception, "7"):
      self.model.fit(self.x, np.zeros((32, 7), "float32"), verbose=0)


class StepSizeTest(TestCase):
  def test_schedule_over_periods(self):
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay(
      [0, 1], [0.2, 0.4, 1.6]
    )
    alphas = (0.2, 0.4, 1.0, 1.0)  # Clipped.
    variables = noisy_quadratic.variables()
    optimizer = Lookahead(keras.optimizers.SGD(0.1), 2, schedule)
    for t, alpha in enumerate(alphas):
      self.assertEqual(optimizer.slow_step_size, alpha)
      noisy_quadratic.train(optimizer, variables, 2, first_step=2 * t)
    fast, _ = algorithm1.lookahead(
      algorithm1.Sgd(0.1),
      noisy_quadratic.gradient,
      noisy_quadratic.initial(),
      steps=8,
      k=2,
      alpha=lambda t, *_: alphas[t],
    )
    self.assertNear(variables, fast, 2e-5)

  def test_is_not_to_be_assigned_to(self):
    rules = [
      keras.optimizers.schedules.ExponentialDecay(0.5, 10, 0.9),
      lookahead_tf.AdaptiveStepSize(0.5),
    ]
    for rule in rules:
      optimizer = Lookahead("adam", slow_step_size=rule)
      self.assertEqual(optimizer.slow_step_size, 0.5)
      with self.assertRaisesRegex(TypeError, "`slow_step_size`.*made with"):
        optimizer.slow_step_size = 0.25
      copy = Lookahead.from_config(optimizer.get_config())
      self.assertEqual(copy.get_config(), optimizer.get_config())

  def test_mistakes(self):
    adaptive = lookahead_tf.AdaptiveStepSize()
    with self.assertRaisesRegex(
      ValueError, "AdaptiveStepSize.*inner_optimizer=.*SGD"
    ):
      Lookahead("sgd", slow_step_size=adaptive)
    with self.assertRaisesRegex(ValueError, "lower=2"):
      lookahead_tf.AdaptiveStepSize(2)
    schedule = keras.optimizers.schedules.ExponentialDecay(50.0, 10, 0.9)
    with self.assertRaisesRegex(
      ValueError, "`slow_step_size`.*50.*ExponentialDecay"
    ):
      Lookahead("sgd", slow_step_size=schedule)

  @parameterized.parameters(False, True)
  def test_adaptive(self, inner_is_built):
    # The formula of the class, in NumPy, around NumPy's Adam.
    variables = noisy_quadratic.variables()
    adam = keras.optimizers.Adam(0.3)
    if inner_is_built:
      adam.build(variables[::-1])  # By other code, in another order.
    optimizer = Lookahead(adam, 3, lookahead_tf.AdaptiveStepSize(0.1))
    inner, alphas = algorithm1.Adam(0.3), []

    def alpha(t, phi, theta, gradient):
      moments = [v / (1 - 0.999**inner.step) for v in inner.slots[2:]]
      d = [p - w for p, w in zip(phi, theta)]
      slope = sum((a * g).sum() for a, g in zip(d, gradient))
      curvature = sum((a * a * v).sum() for a, v in zip(d, moments))
      alphas.append(np.clip(1 + slope / curvature, 0.1, 1.0))
      return alphas[-1]

    expected = algorithm1.Lookahead(inner, 3, alpha)
    theta = noisy_quadratic.initial()
    for step in range(12):
      gradient = noisy_quadratic.gradient(theta, step)
      theta = expected.update(theta, gradient)
      optimizer.apply(tensors(gradient), variables)
      self.assertNear(variables, theta, 1e-4)
      if (step + 1) % 3 == 0:
        self.assertAllClose(optimizer.slow_step_size, alphas[-1], 1e-4, 1e-4)
    self.assertGreater(len(set(np.round(alphas, 2))), 2)


if __name__ == "__main__":
  tf.test.main()
