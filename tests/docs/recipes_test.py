"""The programs in docs/recipes.md do what is said of them."""

import pathlib
import re

import keras
import numpy as np
import tensorflow as tf

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "recipes.md"


def _program(heading):
  """Returns the first program below a heading."""
  _, _, section = PAGE.read_text().partition(f"## {heading}\n")
  return re.search(r"```python\n(.*?)```", section, re.DOTALL).group(1)


def _radam(weight, gradients, rate, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
  """Algorithm 2 of "On the Variance of the Adaptive Learning Rate"."""
  m = v = 0.0
  infinity = 2 / (1 - beta_2) - 1
  for t, g in enumerate(gradients, 1):
    m = beta_1 * m + (1 - beta_1) * g
    v = beta_2 * v + (1 - beta_2) * g * g
    step = m / (1 - beta_1**t)
    length = infinity - 2 * t * beta_2**t / (1 - beta_2**t)
    if length > 5:
      step *= np.sqrt(
        (length - 4)
        * (length - 2)
        * infinity
        / ((infinity - 4) * (infinity - 2) * length)
      )
      step /= np.sqrt(v / (1 - beta_2**t)) + epsilon
    weight = weight - rate * step
  return weight


class RangerTest(tf.test.TestCase):
  def test_is_lookahead_around_radam(self):
    names = {}
    exec(_program("Ranger"), names)
    variable = keras.Variable([1.0, -2.0])
    optimizer = names["ranger"](0.05)
    gradients = np.random.default_rng(0).normal(size=(6, 2))
    for gradient in gradients:
      optimizer.apply([tf.constant(gradient, "float32")], [variable])
    start = np.array([1.0, -2.0])
    end = _radam(start, gradients, 0.05)
    self.assertAllClose(variable, start + 0.5 * (end - start), 1e-4, 1e-5)

  def test_radam(self):
    names = {}
    exec(_program("Ranger"), names)
    variable = keras.Variable([1.0, -2.0])
    gradients = np.random.default_rng(0).normal(size=(20, 2))
    optimizer = names["RAdam"](0.05)
    for gradient in gradients:
      optimizer.apply([tf.constant(gradient, "float32")], [variable])
    expected = _radam(np.array([1.0, -2.0]), gradients, 0.05)
    self.assertAllClose(variable, expected, 1e-4, 1e-5)


if __name__ == "__main__":
  tf.test.main()
