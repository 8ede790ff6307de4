"""Weights on eight devices by keras.distribution, beside those of one device.

KERAS_BACKEND=jax JAX_PLATFORMS=cpu python -m pytest FILE

It needs no TensorFlow.
"""

import os
import tempfile
import unittest

import keras
import numpy as np
from absl.testing import absltest, parameterized
from keras import ops

import lookahead_tf
from lookahead_tf import Lookahead

IS_JAX = keras.backend.backend() == "jax"
if IS_JAX:
  import jax

  jax.config.update("jax_num_cpu_devices", 8)

K, STEPS, BATCH = 3, 8, 8  # Two periods, and two steps of the third.
KERAS = tuple(int(part) for part in keras.__version__.split(".")[:2])
_rng = np.random.default_rng(0)
X = _rng.normal(size=(STEPS * BATCH, 4)).astype("float32")
Y = np.tanh(X @ _rng.normal(size=(4, 2))).astype("float32")
OPTIMIZERS = {
  "sgd": lambda: Lookahead(keras.optimizers.SGD(0.2, momentum=0.9), K),
  "interpolate": lambda: Lookahead(
    keras.optimizers.Adam(0.05), K, inner_state="interpolate"
  ),
  "nested": lambda: Lookahead(Lookahead(keras.optimizers.Adam(0.05), 2), K),
}


def _data_parallel():
  devices = keras.distribution.list_devices()
  return keras.distribution.DataParallel(devices=devices)


def _model_parallel():
  mesh = keras.distribution.DeviceMesh(
    (2, 4), ["batch", "model"], keras.distribution.list_devices()
  )
  layouts = keras.distribution.LayoutMap(mesh)
  layouts[".*hidden/kernel"] = (None, "model")
  layouts[".*hidden/bias"] = ("model",)
  layouts[".*out/kernel"] = ("model", None)
  return keras.distribution.ModelParallel(
    layout_map=layouts, batch_dim_name="batch"
  )


DISTRIBUTIONS = {
  "data_parallel": _data_parallel,
  "model_parallel": _model_parallel,
}


def _make(optimizer):
  keras.utils.set_random_seed(1)
  inputs = keras.Input((4,))
  hidden = keras.layers.Dense(8, "tanh", name="hidden")(inputs)
  model = keras.Model(inputs, keras.layers.Dense(2, name="out")(hidden))
  model.compile(optimizer, loss="mse")
  model.optimizer.build(model.trainable_variables)
  return model


def _values(variables):
  return [np.array(ops.convert_to_numpy(v)) for v in variables]


def _fit(model):
  model.fit(X, Y, batch_size=BATCH, shuffle=False, verbose=0)


def _stateless(model):
  """Trains by `stateless_apply` in a step of one's own, and assigns all."""
  optimizer, variables = model.optimizer, model.trainable_variables

  def loss(weights, x, y):
    found, _ = model.stateless_call(weights, [], x)
    return ops.mean((found - y) ** 2)

  @jax.jit
  def step(weights, state, x, y):
    gradients = jax.grad(loss)(weights, x, y)
    return optimizer.stateless_apply(state, gradients, weights)

  weights = [v.value for v in variables]
  state = [v.value for v in optimizer.variables]
  for first in range(0, len(X), BATCH):
    rows = slice(first, first + BATCH)
    weights, state = step(weights, state, X[rows], Y[rows])
  for variable, value in zip(variables + optimizer.variables, weights + state):
    variable.assign(value)
  optimizer.finalize_variable_values(variables)


@unittest.skipUnless(IS_JAX, "keras.distribution needs KERAS_BACKEND=jax")
class DistributionTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.addCleanup(keras.distribution.set_distribution, None)

  def assertNear(self, found, expected, tolerance=1e-5):
    self.assertEqual(len(found), len(expected))
    for a, b in zip(found, expected):
      np.testing.assert_allclose(a, b, tolerance, tolerance)

  def assertLaidOutLike(self, variable, other):
    """Each device has as much of one variable as of the other."""
    self.assertTrue(
      variable.value.sharding.is_equivalent_to(
        other.value.sharding, len(other.shape)
      ),
      f"{variable.path}: {variable.value.sharding}, {other.value.sharding}",
    )

  @parameterized.product(
    distribution=[*DISTRIBUTIONS],
    optimizer=[*OPTIMIZERS],
    train=(_fit, _stateless),
  )
  def test_weights_equal_one_device(self, distribution, optimizer, train):
    if KERAS < (3, 10) and distribution == "model_parallel" and train is _fit:
      self.skipTest("findings/keras_model_parallel_mixes_up_a_batch.sh")
    alone = _make(OPTIMIZERS[optimizer]())
    start = _values(alone.variables)
    train(alone)
    keras.distribution.set_distribution(DISTRIBUTIONS[distribution]())
    model = _make(OPTIMIZERS[optimizer]())
    self.assertNear(_values(model.variables), start, 0)
    train(model)
    self.assertGreater(abs(_values(model.variables)[0] - start[0]).max(), 0.05)
    self.assertNear(_values(model.variables), _values(alone.variables))
    self.assertNear(
      _values(model.optimizer.variables), _values(alone.optimizer.variables)
    )
    for fast, slow in zip(
      model.trainable_variables, model.optimizer.slow_weights
    ):
      self.assertLaidOutLike(slow, fast)

  def test_slow_weights_are_stored_once(self):
    keras.distribution.set_distribution(_model_parallel())
    model = _make(OPTIMIZERS["sgd"]())
    for when in ("built", "trained"):
      parts = [4, 4, 4, 1]  # The bias of the output is on all devices.
      for slow, part in zip(model.optimizer.slow_weights, parts):
        size = int(np.prod(slow.shape))
        held = [shard.data.size for shard in slow.value.addressable_shards]
        self.assertEqual(held, [size // part] * 8, f"{slow.path} when {when}")
      _stateless(model)

  @parameterized.parameters(*DISTRIBUTIONS)
  def test_evaluation_and_files(self, name):
    keras.distribution.set_distribution(DISTRIBUTIONS[name]())
    model = _make(OPTIMIZERS["sgd"]())
    for first in range(0, 4 * BATCH, BATCH):
      model.train_on_batch(
        X[first:][:BATCH],
        Y[first:][:BATCH],
        np.ones(BATCH),  # Keras 3.8 needs weights here.
      )
    fast = _values(model.trainable_variables)
    slow = _values(model.optimizer.slow_weights)
    layouts = [v.value.sharding for v in model.trainable_variables]
    with lookahead_tf.slow_weights(model):
      self.assertNear(_values(model.trainable_variables), slow, 0)
    self.assertNear(_values(model.trainable_variables), fast, 0)
    path = os.path.join(tempfile.mkdtemp(), "x.keras")
    model.save(path)
    loaded = keras.saving.load_model(path)
    self.assertNear(_values(loaded.variables), _values(model.variables), 0)
    self.assertNear(
      _values(loaded.optimizer.variables), _values(model.optimizer.variables), 0
    )
    for each in (model, loaded):
      variables = each.trainable_variables
      for v, s, layout in zip(variables, each.optimizer.slow_weights, layouts):
        self.assertTrue(v.value.sharding.is_equivalent_to(layout, len(v.shape)))
        self.assertLaidOutLike(s, v)


if __name__ == "__main__":
  absltest.main()
