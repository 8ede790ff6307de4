"""Writes what every later version has to load. Run once for each release:

python -m tests.lookahead_tf.golden.make tests/lookahead_tf/golden/VERSION

with the oldest versions of TensorFlow and Keras that are supported: Keras does
not promise to load what a later Keras wrote.

In the directory it makes: model.keras, model.weights.h5, checkpoint-1.* and
expected.npz, after STEPS_BEFORE steps, in the middle of a period:

  state/0, state/1, ...   all variables of model and optimizer
  after/0, after/1, ...   the weights after STEPS_AFTER further steps

Existing files are never written again: they are the format on disk.
"""

import pathlib
import sys

import keras
import numpy as np
import tensorflow as tf

from lookahead_tf import Lookahead

STEPS_BEFORE = 5
STEPS_AFTER = 7


def make_model() -> keras.Model:
  """Returns the compiled model that all files are of."""
  keras.utils.set_random_seed(0)
  model = keras.Sequential(
    [
      keras.Input((3,), name="input"),
      keras.layers.Dense(2, name="hidden"),
      keras.layers.Dense(1, name="output"),
    ],
    name="golden",
  )
  optimizer = Lookahead(
    keras.optimizers.Adam(0.05, name="adam"),
    sync_period=3,
    slow_step_size=0.8,
    inner_state="interpolate",
    exclude="output/bias$",
  )
  model.compile(optimizer, loss="mse")
  return model


def train(model: keras.Model, first: int, last: int) -> None:
  """Makes the steps from `first` to before `last`."""
  for step in range(first, last):
    x = np.sin(np.arange(24) + step).reshape(8, 3).astype("float32")
    model.train_on_batch(x, x.sum(1, keepdims=True))


def state(model: keras.Model) -> list[np.ndarray]:
  """Returns all that training goes on from."""
  variables = model.weights + model.optimizer.variables
  return [keras.ops.convert_to_numpy(v) for v in variables]


def main(directory: pathlib.Path) -> None:
  """Writes all files."""
  directory.mkdir(parents=True)
  model = make_model()
  train(model, 0, STEPS_BEFORE)
  model.save(directory / "model.keras")
  model.save_weights(directory / "model.weights.h5")
  tf.train.Checkpoint(model=model, optimizer=model.optimizer).save(
    str(directory / "checkpoint")
  )
  (directory / "checkpoint").unlink()  # It only names the latest.
  arrays = {f"state/{i}": value for i, value in enumerate(state(model))}
  train(model, STEPS_BEFORE, STEPS_BEFORE + STEPS_AFTER)
  for i, value in enumerate(model.get_weights()):
    arrays[f"after/{i}"] = value
  np.savez_compressed(directory / "expected.npz", **arrays)


if __name__ == "__main__":
  main(pathlib.Path(sys.argv[1]))
