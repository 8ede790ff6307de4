"""Algorithm 1 of the paper in NumPy, written from its two nested loops."""

import numpy as np


class Sgd:
  """Keras' SGD with momentum: v = beta v - gamma g, w = w + v."""

  def __init__(self, learning_rate, momentum=0.0):
    self.learning_rate, self.momentum = learning_rate, momentum
    self.slots = None

  def update(self, weights, gradients):
    if self.slots is None:
      self.slots = [np.zeros_like(w) for w in weights]
    self.slots = [
      self.momentum * v - self.learning_rate * g
      for v, g in zip(self.slots, gradients)
    ]
    return [w + v for w, v in zip(weights, self.slots)]


class Adam:
  """Algorithm 1 of Kingma and Ba, with Keras' epsilon outside the root."""

  def __init__(self, learning_rate, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    self.learning_rate, self.epsilon = learning_rate, epsilon
    self.beta_1, self.beta_2 = beta_1, beta_2
    self.step, self.slots = 0, None

  def update(self, weights, gradients):
    n = len(weights)
    if self.slots is None:
      self.slots = [np.zeros_like(w) for w in weights * 2]
    self.step += 1
    m = [
      self.beta_1 * m + (1 - self.beta_1) * g
      for m, g in zip(self.slots[:n], gradients)
    ]
    v = [
      self.beta_2 * v + (1 - self.beta_2) * g * g
      for v, g in zip(self.slots[n:], gradients)
    ]
    self.slots = m + v
    scale = np.sqrt(1 - self.beta_2**self.step) / (1 - self.beta_1**self.step)
    return [
      w - self.learning_rate * scale * m / (np.sqrt(v) + self.epsilon)
      for w, m, v in zip(weights, m, v)
    ]


def lookahead(
  inner, gradient, weights, steps, k, alpha, inner_state="maintain"
):
  """Runs `steps` inner updates and returns (fast, slow) weights.

  Args:
    inner: Has `update(weights, gradients)` and `slots`, zero at first.
    gradient: A function of (weights, step number).
    weights: phi_0, a list of arrays.
    steps: All inner updates together, not necessarily whole periods.
    k: The synchronization period.
    alpha: The slow step size.
    inner_state: As for the optimizer.
  """
  phi, slots, step = list(weights), None, 0
  while True:
    theta = list(phi)
    for _ in range(k):
      if step == steps:
        return theta, phi
      theta = inner.update(theta, gradient(theta, step))
      step += 1
    phi = [p + alpha * (t - p) for p, t in zip(phi, theta)]
    if inner_state == "interpolate":
      slots = slots or [np.zeros_like(s) for s in inner.slots]
      slots = [a + alpha * (s - a) for a, s in zip(slots, inner.slots)]
      inner.slots = list(slots)
    elif inner_state == "reset":
      inner.slots = [np.zeros_like(s) for s in inner.slots]
