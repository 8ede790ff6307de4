import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from experiments import quadratics
from tests.lookahead_tf import algorithm1


def _second_moments(gamma, k, alpha, periods, a, sigma2, start):
  """E[phi^2] and E[phi] of one direction, by the recursion of single steps.

  The state of a period is (phi, theta), whose second moments are a matrix.
  """
  mean, moments = np.full(2, start), np.full((2, 2), start**2)
  step = np.array([[1, 0], [0, 1 - gamma * a]])
  end = np.array([[1 - alpha, alpha], [1 - alpha, alpha]])
  for _ in range(periods):
    for _ in range(k):
      mean, moments = step @ mean, step @ moments @ step.T
      moments[1, 1] += (gamma * a) ** 2 * sigma2
    mean, moments = end @ mean, end @ moments @ end.T
  return moments[0, 0], mean[0]


class NoisyQuadraticTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.parameters(
    # Of the table of the paper's facts: gamma, a, k, alpha, variances.
    (0.5, 1.0, 5, 0.5, 0.1134021, 0.3333333),
    (1.2, 0.7, 5, 0.8, 0.4827755, 0.7241379),
    (0.1, 0.05, 10, 0.5, 0.00123763, 0.00250627),
  )
  def test_stationary_variances(self, gamma, a, k, alpha, lookahead, sgd):
    found = quadratics.lookahead_variance(gamma, k, alpha, a)
    self.assertAllClose(found, lookahead, rtol=1e-6)
    self.assertAllClose(quadratics.sgd_variance(gamma, a), sgd, rtol=1e-6)
    # With another noise, by the recursion.
    second, mean = _second_moments(gamma, k, alpha, 2000, a, 3.0, 2.0)
    self.assertAllClose(second - mean**2, 3.0 * lookahead, rtol=1e-5)

  def test_a_step_size_of_1_is_sgd(self):
    gammas = np.linspace(0.1, 1.9, 7)
    self.assertAllClose(
      quadratics.lookahead_variance(gammas, 5, 1.0),
      quadratics.sgd_variance(gammas),
    )

  @parameterized.parameters((0.3, 5, 0.5, 0), (1.7, 3, 0.2, 4), (0.9, 1, 1, 7))
  def test_expected_loss_after_some_periods(self, gamma, k, alpha, periods):
    a, sigma2, start = [1.0, 0.3, 0.01], [1.0, 2.0, 50.0], [1.0, -2.0, 3.0]
    expected = sum(
      curvature
      / 2
      * _second_moments(gamma, k, alpha, periods, curvature, noise, x)[0]
      for curvature, noise, x in zip(a, sigma2, start)
    )
    found = quadratics.expected_excess_loss(
      [gamma, gamma], k, alpha, periods, a, sigma2, start
    )
    self.assertAllClose(found, [expected] * 2, rtol=1e-9)

  def test_monte_carlo(self):
    gamma, k, alpha, a, copies = 0.4, 4, 0.6, 1.5, 100_000
    rng = np.random.default_rng(0)
    _, (phi,) = algorithm1.lookahead(
      algorithm1.Sgd(gamma),
      lambda theta, i: [a * (theta[0] - rng.normal(size=copies))],
      [np.zeros(copies)],
      20 * k,
      k,
      alpha,
    )
    # The standard error is .45 %.
    found = quadratics.lookahead_variance(gamma, k, alpha, a)
    self.assertAllClose(found, np.var(phi), rtol=0.02)

  @parameterized.parameters(0.0, 2.0, 3.0, float("nan"))
  def test_where_sgd_is_not_stable_there_is_no_variance(self, gamma):
    with self.assertRaisesRegex(ValueError, f"gamma={gamma}"):
      quadratics.lookahead_variance(gamma, 5, 0.5)


class DeterministicQuadraticTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.parameters(
    (1.0, 0.97593),
    (0.1, 0.99638),
    (0.01, 0.96279),
    (0.001, 0.99240),
    (1e-4, 0.99473),
  )
  def test_rates_of_the_paper(self, h, expected):
    period = quadratics.lookahead_period(1.0, h, 0.99, 20, 0.5)
    self.assertAllClose(quadratics.rate(period, 20), expected, atol=5e-6)
    alone = quadratics.momentum_step(1.0, h, 0.99)
    self.assertAllClose(quadratics.rate(alone), 0.994987, atol=1e-6)

  def test_matrices_are_those_of_the_loop(self):
    gamma, beta, k, alpha = 0.7, 0.9, 3, 0.3
    curvatures = np.array([1.0, 0.2])
    phi, velocity = np.array([1.0, 2.0]), np.array([0.5, -1.0])
    inner = algorithm1.Sgd(gamma, beta)
    inner.slots = [velocity]
    _, (slow,) = algorithm1.lookahead(
      inner, lambda theta, i: [curvatures * theta[0]], [phi], k, k, alpha
    )
    expected = np.stack([slow, *inner.slots], axis=-1)
    period = quadratics.lookahead_period(gamma, curvatures, beta, k, alpha)
    state = np.stack([phi, velocity], axis=-1)
    self.assertAllClose(np.einsum("nij,nj->ni", period, state), expected)

  def test_rates_of_several_matrices(self):
    matrices = np.stack([np.diag([0.25, -0.5]), np.array([[0, -4], [1, 0]])])
    self.assertAllClose(quadratics.rate(matrices, 2), [0.5**0.5, 2**0.5])


class BestStepSizeTest(tf.test.TestCase):
  def test_no_other_step_size_is_better(self):
    rng = np.random.default_rng(0)
    root, minimum, phi, theta = (
      rng.normal(size=shape) for shape in ((4, 4), 4, 4, 4)
    )
    for hessian in (root @ root.T, np.diag([1.0, 2.0, 0.1, 0.0])):

      def loss(alpha, hessian=hessian):
        x = phi + alpha * (theta - phi) - minimum
        return x @ hessian @ x / 2

      best = quadratics.best_step_size(hessian, minimum, phi, theta)
      for other in (best - 1e-3, best + 1e-3, 0.0, 1.0):
        self.assertLess(loss(best), loss(other))
    diagonal = quadratics.best_step_size(np.diag(hessian), minimum, phi, theta)
    self.assertEqual(diagonal, best)

  def test_a_period_that_changed_nothing(self):
    with self.assertRaisesRegex(ValueError, r"theta=\[1\. 2\.\]"):
      quadratics.best_step_size(
        np.ones(2), np.zeros(2), np.array([1.0, 2.0]), np.array([1.0, 2.0])
      )


if __name__ == "__main__":
  tf.test.main()
