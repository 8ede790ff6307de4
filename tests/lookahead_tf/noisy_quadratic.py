"""Two weights of a noisy quadratic, trained by single updates."""

import keras
import numpy as np

from tests.lookahead_tf.small_model import tensors, values


def gradient(weights: list[np.ndarray], step: int) -> list[np.ndarray]:
  """Returns the gradients, those of another centre at each step."""
  return [
    (np.arange(w.size).reshape(w.shape) % 3 + 1.0)
    * (w - np.sin(step + np.arange(w.size).reshape(w.shape)))
    for w in weights
  ]


def variables() -> list[keras.Variable]:
  """Returns new variables "kernel" and "bias", each time of the same values."""
  rng = np.random.default_rng(0)
  return [
    keras.Variable(rng.normal(size=shape), dtype="float32", name=name)
    for name, shape in (("kernel", (3, 4)), ("bias", (4,)))
  ]


def initial() -> list[np.ndarray]:
  """Returns the first values of `variables()` in float64."""
  return [w.astype("float64") for w in values(variables())]


def train(optimizer, variables, steps: int, first_step: int = 0) -> None:
  """Makes `steps` updates of the variables by `optimizer`."""
  for step in range(first_step, first_step + steps):
    gradients = gradient(values(variables), step)
    optimizer.apply(tensors(gradients), variables)
