"""Files that earlier releases wrote load, and training goes on."""

import pathlib

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from tests.lookahead_tf.golden import make

DIRECTORY = pathlib.Path(make.__file__).parent
RELEASES = sorted(path.name for path in DIRECTORY.glob("*.*.*"))


def _load_keras(directory):
  return keras.models.load_model(directory / "model.keras")


def _load_weights(directory):
  model = make.make_model()
  model.optimizer.build(model.trainable_variables)
  model.load_weights(directory / "model.weights.h5")
  return model


def _restore(directory):
  model = make.make_model()
  checkpoint = tf.train.Checkpoint(model=model, optimizer=model.optimizer)
  status = checkpoint.restore(str(directory / "checkpoint-1"))
  model.optimizer.build(model.trainable_variables)
  status.assert_consumed()
  return model


class GoldenTest(tf.test.TestCase, parameterized.TestCase):
  def test_the_first_release_is_there(self):
    self.assertIn("0.1.0", RELEASES)

  @parameterized.product(
    release=RELEASES, load=[_load_keras, _load_weights, _restore]
  )
  def test_loads_and_goes_on(self, release, load):
    expected = np.load(DIRECTORY / release / "expected.npz")
    model = load(DIRECTORY / release)
    for i, value in enumerate(make.state(model)):
      self.assertAllEqual(value, expected[f"state/{i}"])
    make.train(model, make.STEPS_BEFORE, make.STEPS_BEFORE + make.STEPS_AFTER)
    for i, value in enumerate(model.get_weights()):
      self.assertAllClose(value, expected[f"after/{i}"], 1e-6, 1e-6)


if __name__ == "__main__":
  tf.test.main()
