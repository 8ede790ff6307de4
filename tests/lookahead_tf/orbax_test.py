"""OrbaxCheckpoint: training goes on bit for bit in each phase of a period.

KERAS_BACKEND=jax python -m pytest FILE

It needs orbax-checkpoint, and no TensorFlow.
"""

import importlib.util
import tempfile
import unittest

import keras
import numpy as np
from absl.testing import absltest, parameterized
from keras import ops

from lookahead_tf import Lookahead

K, STEPS, BATCH = 3, 8, 8
_rng = np.random.default_rng(0)
X = _rng.normal(size=(STEPS * BATCH, 4)).astype("float32")
Y = np.tanh(X @ _rng.normal(size=(4, 2))).astype("float32")
OPTIMIZERS = {
  "adam": lambda: Lookahead(keras.optimizers.Adam(0.05), K),
  "interpolate": lambda: Lookahead(
    keras.optimizers.SGD(0.1, momentum=0.9), K, inner_state="interpolate"
  ),
  "nested": lambda: Lookahead(Lookahead(keras.optimizers.Adam(0.05), 2), K),
  # As in files of 0.1.0.
  "namesakes": lambda: Lookahead(
    Lookahead(keras.optimizers.Adam(0.05), 2, name="lookahead"),
    K,
    name="lookahead",
  ),
}


def _make(optimizer):
  keras.utils.set_random_seed(1)
  inputs = keras.Input((4,))
  hidden = keras.layers.Dense(3, "tanh")(inputs)
  model = keras.Model(inputs, keras.layers.Dense(2)(hidden))
  model.compile(optimizer, loss="mse")
  return model


def _train(model, first, last):
  for step in range(first, last):
    rows = slice(step * BATCH, (step + 1) * BATCH)
    model.train_on_batch(X[rows], Y[rows])


def _state(model):
  variables = model.variables + model.optimizer.variables
  return [np.array(ops.convert_to_numpy(v)) for v in variables]


@unittest.skipUnless(
  hasattr(keras.callbacks, "OrbaxCheckpoint")
  and importlib.util.find_spec("orbax"),
  "needs Keras 3.14 and pip install orbax-checkpoint",
)
class OrbaxTest(parameterized.TestCase):
  # Behind its start, in it, behind its end, and in the second period.
  @parameterized.product(optimizer=[*OPTIMIZERS], steps=(1, 2, 3, 4))
  def test_training_goes_on_bit_for_bit(self, optimizer, steps):
    model = _make(OPTIMIZERS[optimizer]())
    directory = tempfile.mkdtemp()
    callback = keras.callbacks.OrbaxCheckpoint(
      directory, save_freq=1, save_on_background=False
    )
    callback.set_model(model)
    callback.on_train_begin()
    _train(model, 0, steps)
    callback.on_train_batch_end(steps - 1)
    callback.on_train_end()
    saved = _state(model)
    loaded = keras.saving.load_model(directory)
    self.assertSame(_state(loaded), saved)
    for each in (model, loaded):
      _train(each, steps, STEPS)
    self.assertSame(_state(loaded), _state(model))
    self.assertGreater(abs(_state(model)[0] - saved[0]).max(), 0.01)

  def test_fit_goes_on_after_an_epoch_that_ended_a_period(self):
    model, whole = (_make(OPTIMIZERS["adam"]()) for _ in range(2))
    directory = tempfile.mkdtemp()
    callback = keras.callbacks.OrbaxCheckpoint(
      directory, save_on_background=False
    )
    arguments = {"batch_size": BATCH, "shuffle": False, "verbose": 0}
    model.fit(X, Y, callbacks=[callback], **arguments)
    loaded = keras.saving.load_model(directory)
    # The file is of before the end of `fit`, as that of a run that was killed.
    whole.fit(X, Y, epochs=2, **arguments)
    loaded.fit(X, Y, **arguments)
    self.assertSame(_state(loaded), _state(whole))

  def assertSame(self, found, expected):
    self.assertEqual(len(found), len(expected))
    for a, b in zip(found, expected):
      np.testing.assert_array_equal(a, b)


if __name__ == "__main__":
  absltest.main()
