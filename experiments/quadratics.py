"""The closed forms of the paper's quadratics, apart from every optimizer.

Sections 2.1, 3.1 and 3.2 and the appendix of "Lookahead Optimizer: k steps
forward, 1 step back" (Zhang, Lucas, Hinton, Ba; NeurIPS 2019,
arXiv:1907.08610), in the paper's symbols:

* a, h: curvatures, the eigenvalues of the Hessian; kappa: their ratio;
* gamma: the learning rate, beta: the momentum of the inner optimizer;
* k: the synchronization period; alpha: the step size of the slow weights;
* sigma^2: the variance of the minimum, which is another one in each step.

Arguments that are arrays are broadcast, as NumPy does. Everything is float64.
"""

import numpy as np
from numpy.typing import ArrayLike


def sgd_variance(
  gamma: ArrayLike, a: ArrayLike = 1.0, sigma2: ArrayLike = 1.0
) -> np.ndarray:
  """Returns the stationary variance of SGD on the noisy quadratic.

  The loss of a step is a/2 (x - c)^2, c of mean x* and variance sigma^2, so
  that x* - x shrinks by q = 1 - gamma a and the step adds gamma a (c - x*).

  Args:
    gamma: Learning rate, less than 2 / a.
    a: Curvature.
    sigma2: Variance of the minimum c.

  Raises:
    ValueError: if SGD is not stable, where there is no stationary variance.
  """
  q = _shrinkage(gamma, a)
  return (1 - q) ** 2 * np.asarray(sigma2) / (1 - q**2)


def lookahead_variance(
  gamma: ArrayLike,
  k: ArrayLike,
  alpha: ArrayLike,
  a: ArrayLike = 1.0,
  sigma2: ArrayLike = 1.0,
) -> np.ndarray:
  """Returns that of the slow weights of Lookahead around SGD: Proposition 2.

  Args:
    gamma: Learning rate, less than 2 / a.
    k: Synchronization period.
    alpha: Step size of the slow weights, in (0, 1]. With 1 it is that of SGD.
    a: Curvature.
    sigma2: Variance of the minimum c.

  Raises:
    ValueError: if SGD is not stable.
  """
  q, alpha = _shrinkage(gamma, a), np.asarray(alpha)
  own = alpha**2 * (1 - q ** (2 * np.asarray(k)))
  drift = 2 * alpha * (1 - alpha) * (1 - q ** np.asarray(k))
  return own / (own + drift) * sgd_variance(gamma, a, sigma2)


def mean_factor(
  gamma: ArrayLike, k: ArrayLike, alpha: ArrayLike, a: ArrayLike = 1.0
) -> np.ndarray:
  """Returns by what E[phi] - x* is multiplied in a period: section 3.1.

  Args:
    gamma: Learning rate.
    k: Synchronization period.
    alpha: Step size of the slow weights.
    a: Curvature.
  """
  q = 1 - np.asarray(gamma, "float64") * a
  return 1 - np.asarray(alpha) + np.asarray(alpha) * q ** np.asarray(k)


def expected_excess_loss(
  gamma: ArrayLike,
  k: ArrayLike,
  alpha: ArrayLike,
  periods: ArrayLike,
  a: ArrayLike,
  sigma2: ArrayLike,
  start: ArrayLike = 1.0,
) -> np.ndarray:
  """Returns the expected loss of the slow weights above the least expected one.

  The mean shrinks by `mean_factor` c in each period, and the variance, which
  begins at 0, comes by c^2 closer to that of Proposition 2:

    1/2 sum of a (c^2n (phi_0 - x*)^2 + (1 - c^2n) V) after n periods.

  Args:
    gamma: Learning rate, less than 2 / a for all a; not an array with the axis
      of `a`, as neither are the next three.
    k: Synchronization period.
    alpha: Step size of the slow weights, in (0, 1]; 1 is SGD.
    periods: How many periods were made.
    a: Curvatures of all directions, on the last axis.
    sigma2: Variances of the minimum, likewise.
    start: phi_0 - x*, likewise.

  Returns:
    Array of the shape of the first four arguments.

  Raises:
    ValueError: if SGD is not stable.
  """
  gamma, k, alpha, periods = (
    np.asarray(value)[..., np.newaxis] for value in (gamma, k, alpha, periods)
  )
  left = mean_factor(gamma, k, alpha, a) ** (2 * periods)
  variance = lookahead_variance(gamma, k, alpha, a, sigma2)
  second_moment = left * np.asarray(start) ** 2 + (1 - left) * variance
  return np.sum(np.asarray(a) * second_moment, axis=-1) / 2


def momentum_step(gamma: ArrayLike, h: ArrayLike, beta: float) -> np.ndarray:
  """Returns the matrix S of a step of momentum on (theta - x*, velocity).

  Args:
    gamma: Learning rate.
    h: Curvature.
    beta: Momentum.

  Returns:
    Array of the shape of `gamma * h`, and two axes of 2 more.
  """
  s = np.asarray(gamma, "float64") * h
  return np.stack(
    [
      np.stack([1 - s, np.full_like(s, beta)], axis=-1),
      np.stack([-s, np.full_like(s, beta)], axis=-1),
    ],
    axis=-2,
  )


def lookahead_period(
  gamma: ArrayLike, h: ArrayLike, beta: float, k: int, alpha: float
) -> np.ndarray:
  """Returns the matrix of a period of Lookahead around momentum: section 3.2.

  The weights go alpha of the way, the velocity is maintained.

  Args:
    gamma: Learning rate.
    h: Curvature.
    beta: Momentum.
    k: Synchronization period.
    alpha: Step size of the slow weights.

  Returns:
    Array of the shape of `gamma * h`, and two axes of 2 more.
  """
  steps = np.linalg.matrix_power(momentum_step(gamma, h, beta), k)
  return np.diag([alpha, 1.0]) @ steps + np.diag([1.0 - alpha, 0.0])


def rate(matrix: np.ndarray, steps: int = 1) -> np.ndarray:
  """Returns by what the distance to the minimum shrinks in one inner step.

  Args:
    matrix: Of `steps` inner steps, or several on the first axes.
    steps: How many.

  Returns:
    The spectral radius to the power of 1 / steps; less is faster.
  """
  return np.abs(np.linalg.eigvals(matrix)).max(axis=-1) ** (1 / steps)


def best_step_size(
  hessian: ArrayLike, minimum: ArrayLike, phi: ArrayLike, theta: ArrayLike
) -> float:
  """Returns the alpha after which the loss is least: Proposition 1.

  Args:
    hessian: A of the loss 1/2 (x - x*)' A (x - x*), of shape (n, n), or its
      diagonal, of shape (n,).
    minimum: x*, of shape (n,).
    phi: The slow weights, of shape (n,).
    theta: The fast weights at the end of the period, of shape (n,).

  Returns:
    (phi - x*)' A d / (d' A d) with d = phi - theta; it may lie outside [0, 1].

  Raises:
    ValueError: if the period changed nothing, where all alpha are as good.
  """
  hessian, phi = np.asarray(hessian, "float64"), np.asarray(phi, "float64")
  hessian = np.diag(hessian) if hessian.ndim == 1 else hessian
  d = phi - theta
  if not (curvature := d @ hessian @ d) > 0:
    raise ValueError(
      "phi and theta must differ in a direction with curvature. "
      f"Received: phi={phi}, theta={theta}"
    )
  return float((phi - minimum) @ hessian @ d / curvature)


def _shrinkage(gamma, a):
  """Returns q = 1 - gamma a, for which SGD is stable."""
  q = 1 - np.asarray(gamma, "float64") * a
  if not np.all(np.abs(q) < 1):
    raise ValueError(
      "gamma must be in (0, 2 / a), where SGD is stable. "
      f"Received: gamma={gamma}, a={a}"
    )
  return q
