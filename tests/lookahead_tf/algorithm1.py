"""Algorithm 1 of the paper in NumPy, written from its two nested loops.

An inner optimizer here is anything with `update(weights, gradients)`, which
returns the new weights, and, for an `inner_state` other than "maintain",
`slots`: the list of its arrays. `Sgd`, `Adam` and `RAdam` are in NumPy; `Bare`
is an optimizer of Keras without Lookahead; `Lookahead` is Algorithm 1 itself.
"""

import numpy as np
from keras import ops


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


class RAdam:
  """Algorithm 2 of Liu et al., with the options of `lookahead_tf.RAdam`."""

  def __init__(
    self,
    learning_rate,
    beta_1=0.9,
    beta_2=0.999,
    epsilon=1e-7,
    amsgrad=False,
    sma_threshold=5.0,
    gradient_centralization=False,
    weight_decay=0.0,
  ):
    self.learning_rate, self.epsilon = learning_rate, epsilon
    self.beta_1, self.beta_2 = beta_1, beta_2
    self.amsgrad, self.sma_threshold = amsgrad, sma_threshold
    self.centralizes = gradient_centralization
    self.weight_decay = weight_decay
    self.step, self.slots = 0, None

  def update(self, weights, gradients):
    if self.slots is None:
      self.slots = [np.zeros_like(w) for w in weights * 3]
    n, self.step = len(weights), self.step + 1
    moments = zip(self.slots[:n], self.slots[n : 2 * n], self.slots[2 * n :])
    updated = [
      self._update_one(*each) for each in zip(weights, gradients, moments)
    ]
    weights, m, v, greatest = map(list, zip(*updated))
    self.slots = m + v + greatest
    return weights

  def _update_one(self, w, g, moments):
    m, v, greatest = moments
    t, beta_1, beta_2 = self.step, self.beta_1, self.beta_2
    if self.centralizes and g.ndim > 1:
      g = g - g.mean(axis=tuple(range(g.ndim - 1)))
    w = w - self.learning_rate * self.weight_decay * w
    m = beta_1 * m + (1 - beta_1) * g
    v = beta_2 * v + (1 - beta_2) * g**2
    greatest = np.maximum(greatest, v)
    corrected = m / (1 - beta_1**t)
    rho_inf = 2 / (1 - beta_2) - 1
    rho = rho_inf - 2 * t * beta_2**t / (1 - beta_2**t)
    if rho > self.sma_threshold:
      r = np.sqrt(
        ((rho - 4) * (rho - 2) * rho_inf)
        / ((rho_inf - 4) * (rho_inf - 2) * rho)
      )
      root = np.sqrt(greatest if self.amsgrad else v) + self.epsilon
      step = r * corrected * np.sqrt(1 - beta_2**t) / root
    else:
      step = corrected
    return w - self.learning_rate * step, m, v, greatest


class Bare:
  """A Keras optimizer, which updates `variables` in eager mode."""

  def __init__(self, optimizer, variables):
    self.optimizer, self.variables = optimizer, list(variables)
    optimizer.build(self.variables)

  def update(self, weights, gradients):
    _assign(self.variables, weights)
    self.optimizer.apply(_tensors(gradients), self.variables)
    return _arrays(self.variables)


class BareStateless(Bare):
  """The same by `stateless_apply`, which leaves the variables as they are."""

  def __init__(self, optimizer, variables):
    super().__init__(optimizer, variables)
    self.state = [v.value for v in optimizer.variables]

  def update(self, weights, gradients):
    weights, self.state = self.optimizer.stateless_apply(
      self.state, _tensors(gradients), _tensors(weights)
    )
    return _arrays(weights)


def _assign(variables, values):
  for variable, value in zip(variables, values):
    variable.assign(value)


def _tensors(arrays):
  return [None if a is None else ops.convert_to_tensor(a) for a in arrays]


def _arrays(tensors):
  """Returns arrays that later assignments leave alone."""
  return [np.array(ops.convert_to_numpy(x)) for x in tensors]


def two_loops(
  inner, weights, k, alpha, *, inner_state="maintain", excluded=(), store=None
):
  """Is a generator: yields (theta, phi) and is sent the gradients at theta.

  Args:
    inner: An inner optimizer.
    weights: phi_0, a list of arrays.
    k: The synchronization period, in updates of `inner`.
    alpha: The slow step size, or a function that returns it, of the number of
      the period, phi, theta and the last gradients.
    inner_state: As for the optimizer.
    excluded: Indices of the weights that only `inner` updates.
    store: A function that rounds slow weights to what they are stored as.
  """
  phi, slots, t = list(weights), None, 0
  while True:
    theta = list(phi)
    for _ in range(k):
      gradients = yield theta, phi
      theta = inner.update(theta, gradients)
    a = alpha(t, phi, theta, gradients) if callable(alpha) else alpha
    phi = [
      w if i in excluded else p + a * (w - p)
      for i, (p, w) in enumerate(zip(phi, theta))
    ]
    if store is not None:
      phi = [store(p) for p in phi]
    if inner_state == "interpolate":
      slots = slots or [np.zeros_like(s) for s in inner.slots]
      slots = [p + a * (s - p) for p, s in zip(slots, inner.slots)]
      inner.slots = list(slots)
    elif inner_state == "reset":
      inner.slots = [np.zeros_like(s) for s in inner.slots]
    t += 1


class Lookahead:
  """Algorithm 1 by single updates: also an inner optimizer of another.

  As `two_loops`; `phi` are the slow weights. Weights other than those that the
  last update returned start the loops anew.
  """

  def __init__(self, inner, k, alpha, **options):
    self._start = lambda weights: two_loops(inner, weights, k, alpha, **options)
    self._theta = self.phi = None

  def update(self, weights, gradients):
    if weights is not self._theta:
      self._loops = self._start(weights)
      next(self._loops)
    self._theta, self.phi = self._loops.send(gradients)
    return self._theta


def lookahead(inner, gradient, weights, steps, k, alpha, **options):
  """Runs `steps` inner updates, and returns (fast, slow) weights.

  Args:
    inner: An inner optimizer.
    gradient: A function of (weights, step number).
    weights: phi_0, a list of arrays.
    steps: All inner updates together, not necessarily whole periods.
    k: As for `two_loops`.
    alpha: As for `two_loops`.
    **options: As for `two_loops`.
  """
  loops = two_loops(inner, weights, k, alpha, **options)
  theta, phi = next(loops)
  for step in range(steps):
    theta, phi = loops.send(gradient(theta, step))
  return theta, phi
