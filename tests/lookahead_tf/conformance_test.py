"""Every Keras optimizer as inner x every way to run a training step."""

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from lookahead_tf import Lookahead
from tests import xla

_WRAPPERS = ("Optimizer", "LossScaleOptimizer", "MultiOptimizer")
INNER = sorted(
  name
  for name, value in vars(keras.optimizers).items()
  if isinstance(value, type)
  and issubclass(value, keras.optimizers.Optimizer)
  and name not in _WRAPPERS
)
K, ALPHA, STEPS = 3, 0.8, 11  # Three periods, and two steps of the fourth.

_rng = np.random.default_rng(0)
X = _rng.normal(size=(STEPS * 8, 6)).astype("float32")
Y = np.tanh(X @ _rng.normal(size=(6, 2))).astype("float32")


def _inner(name):
  return getattr(keras.optimizers, name)(learning_rate=0.05)


def _model():
  keras.utils.set_random_seed(1)
  return keras.Sequential(
    [
      keras.Input((6,)),
      keras.layers.Dense(4, activation="tanh", name="hidden"),
      keras.layers.Dense(2, name="output"),
    ]
  )


def _gradients(model, step):
  rows = slice(step * 8, step * 8 + 8)
  with tf.GradientTape() as tape:
    loss = tf.reduce_mean((model(X[rows]) - Y[rows]) ** 2)
  return tape.gradient(loss, model.trainable_variables)


def _values(variables):
  return [np.array(v) for v in variables]


def _reference(name):
  """Algorithm 1 around the bare optimizer, in eager mode; (fast, slow)."""
  model, inner = _model(), _inner(name)
  inner.build(model.trainable_variables)
  phi = _values(model.trainable_variables)
  for step in range(STEPS):
    inner.apply(_gradients(model, step), model.trainable_variables)
    if (step + 1) % K == 0:
      theta = _values(model.trainable_variables)
      phi = [p + np.float32(ALPHA) * (t - p) for p, t in zip(phi, theta)]
      for variable, value in zip(model.trainable_variables, phi):
        variable.assign(value)
  return _values(model.trainable_variables), phi


def _run_custom_loop(model, optimizer, decorate):
  @decorate
  def train_step(x, y):
    with tf.GradientTape() as tape:
      loss = tf.reduce_mean((model(x) - y) ** 2)
    gradients = tape.gradient(loss, model.trainable_variables)
    optimizer.apply(gradients, model.trainable_variables)

  optimizer.build(model.trainable_variables)
  for step in range(STEPS):
    rows = slice(step * 8, step * 8 + 8)
    train_step(tf.constant(X[rows]), tf.constant(Y[rows]))


def _run_fit(model, optimizer, **compile_arguments):
  model.compile(optimizer, loss="mse", **compile_arguments)
  model.fit(X, Y, batch_size=8, shuffle=False, verbose=0)


def _run_train_on_batch(model, optimizer):
  model.compile(optimizer, loss="mse")
  for step in range(STEPS):
    model.train_on_batch(X[step * 8 : step * 8 + 8], Y[step * 8 : step * 8 + 8])


MODES = {
  "eager": lambda m, o: _run_custom_loop(m, o, lambda f: f),
  "function": lambda m, o: _run_custom_loop(m, o, tf.function),
  "xla": lambda m, o: _run_custom_loop(m, o, tf.function(jit_compile=True)),
  "fit": lambda m, o: _run_fit(m, o, jit_compile=False),
  "fit_xla": lambda m, o: _run_fit(m, o, jit_compile=True),
  "fit_eager": lambda m, o: _run_fit(m, o, run_eagerly=True),
  "fit_4_steps": lambda m, o: _run_fit(m, o, steps_per_execution=4),
  "train_on_batch": _run_train_on_batch,
}


class ConformanceTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.product(inner=INNER, mode=list(MODES))
  def test_equals_algorithm_1(self, inner, mode):
    if "xla" in mode:
      xla.require(self)
    # Muon's Newton-Schulz iteration amplifies what XLA rounds otherwise.
    tolerance = 2e-3 if inner == "Muon" and "xla" in mode else 5e-5
    model = _model()
    optimizer = Lookahead(_inner(inner), K, ALPHA)
    MODES[mode](model, optimizer)
    fast, slow = _reference(inner)
    if mode.startswith("fit"):
      fast = slow  # What Algorithm 1 returns.
    self.assertAllClose(
      _values(model.trainable_variables), fast, tolerance, tolerance
    )
    self.assertAllClose(
      _values(optimizer.slow_weights), slow, tolerance, tolerance
    )
    self.assertEqual(int(optimizer.iterations), STEPS)


if __name__ == "__main__":
  tf.test.main()
