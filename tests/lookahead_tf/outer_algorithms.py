"""Rules on the slow weights in NumPy, in float64, from their publications.

A rule is a function of (phi, s, state), where s = phi - theta, that returns
(phi', state'); the state is None at first. All are arrays of one variable.
"""

import numpy as np


def lookahead(alpha):
  """Returns the rule of Algorithm 1."""
  return lambda phi, s, state: (phi - alpha * s, state)


def momentum(eta, mu, nesterov):
  """Returns SGD with momentum on s as PyTorch has it, eta outside the buffer.

  Args:
    eta: Float, or a function of the number of the period.
    mu: Float, or a function of the number of the period.
    nesterov: Whether the form is Nesterov's.
  """

  def rule(phi, s, state):
    period, b = state or (0, np.zeros_like(phi))
    rate, decay = _at(eta, period), _at(mu, period)
    b = decay * b + s
    step = s + decay * b if nesterov else b
    return phi - rate * step, (period + 1, b)

  return rule


def _at(value, period):
  return value(period) if callable(value) else value


def momentum_inside(eta, mu, nesterov):
  """Returns Keras' SGD on s, with the learning rate inside the buffer."""

  def rule(phi, s, v):
    v = mu * (np.zeros_like(phi) if v is None else v) - eta * s
    return phi + (mu * v - eta * s if nesterov else v), v

  return rule


def slowmo(alpha, beta, gamma):
  """Returns SlowMo: u = beta u + s / gamma; phi - alpha gamma u."""

  def rule(phi, s, u):
    u = beta * (np.zeros_like(phi) if u is None else u) + s / gamma
    return phi - alpha * gamma * u, u

  return rule


def bmuf(zeta, eta):
  """Returns block momentum: d = eta d + zeta (theta - phi); phi + d."""

  def rule(phi, s, d):
    d = eta * (np.zeros_like(phi) if d is None else d) - zeta * s
    return phi + d, d

  return rule


def ema_nesterov(b, g):
  """Returns EMA-Nesterov, b a float or a function of the number of the step."""

  def rule(phi, s, state):
    step, m = state or (0, np.zeros_like(phi))
    m = g * m + (1 - g) * (_at(b, step - 1) * m - s)
    return phi - s + _at(b, step) * m, (step + 1, m)

  return rule


def primal_averaging(mu_x, mu_y):
  """Returns GPA in the form of one buffer, z."""

  def rule(phi, s, z):
    z = phi if z is None else z
    a = 1 - mu_x
    new = (1 - a) * phi + a * z - (1 - mu_y * (1 - a)) * s
    return new, z - s

  return rule


def averaged_point(phi, z, mu_y):
  """Returns what GPA returns of its state."""
  return (phi - (1 - mu_y) * z) / mu_y


def run(inner, gradient, weights, steps, k, rule, pull_back=1.0):
  """Runs `steps` inner updates; returns (fast, slow, states of the rule).

  Args:
    inner: An inner optimizer, as for `algorithm1`.
    gradient: A function of (weights, step number).
    weights: phi_0, a list of arrays.
    steps: All inner updates together, not necessarily whole periods.
    k: The number of updates in a period.
    rule: A rule.
    pull_back: rho: theta = phi + (1 - rho)(theta - phi) after a period.
  """
  phi = theta = [np.asarray(w, "float64") for w in weights]
  states = [None] * len(phi)
  for step in range(steps):
    theta = inner.update(theta, gradient(theta, step))
    if (step + 1) % k:
      continue
    moved = [rule(p, p - w, state) for p, w, state in zip(phi, theta, states)]
    phi, states = [x for x, _ in moved], [state for _, state in moved]
    theta = [p + (1 - pull_back) * (w - p) for p, w in zip(phi, theta)]
  return theta, phi, states


def local_steps(inners, gradient, weights, steps, k, rule):
  """Runs replicas that make the steps of a period by themselves, as in DiLoCo.

  Args:
    inners: An inner optimizer for each replica, as for `algorithm1`.
    gradient: A function of (weights, number of the replica, step number).
    weights: phi_0, a list of arrays.
    steps: All inner updates of a replica, not necessarily whole periods.
    k: Inner updates in a period.
    rule: One of this module.

  Returns:
    (theta of each replica, phi, drift): two lists of arrays for theta and phi,
    and the root of the mean squared distance to the mean at the last meeting.
  """
  phi, states, drift = list(weights), [None] * len(weights), 0.0
  thetas = [list(weights) for _ in inners]
  for step in range(steps):
    thetas = [
      inner.update(theta, gradient(theta, replica, step))
      for replica, (inner, theta) in enumerate(zip(inners, thetas))
    ]
    if (step + 1) % k == 0:
      means = [np.mean(each, axis=0) for each in zip(*thetas)]
      drift = np.sqrt(
        np.mean(
          [
            sum(np.sum((w - m) ** 2) for w, m in zip(theta, means))
            for theta in thetas
          ]
        )
      )
      moved = [
        rule(p, p - mean, state) for p, mean, state in zip(phi, means, states)
      ]
      phi, states = map(list, zip(*moved))
      thetas = [list(phi) for _ in inners]
  return thetas, phi, drift
