"""The programs in docs/migration.md give the weights of other libraries."""

import pathlib
import re

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import lookahead_tf

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "migration.md"
ALPHA = 0.5


def _program(heading):
  """Returns the program below a heading."""
  _, _, section = PAGE.read_text().partition(f"### {heading}\n")
  return re.search(r"```python\n(.*?)```", section, re.DOTALL).group(1)


def _run(gradients, first_copy, synchronizations):
  """Returns a weight after SGD with Lookahead of another library.

  Args:
    gradients: One for each step.
    first_copy: The slow weight is a copy of the weight after this step.
    synchronizations: The steps after which the weights are synchronized.
  """
  weight, slow, momentum = 1.0, None, 0.0
  for step, gradient in enumerate(gradients, 1):
    momentum = 0.9 * momentum + gradient
    weight -= 0.1 * momentum
    if step == first_copy:
      slow = weight
    if step in synchronizations:
      weight = slow = slow + ALPHA * (weight - slow)
  return weight


class MigrationTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.parameters(
    ("timm", 6, range(12, 100, 6)),
    ("torch_optimizer, catalyst", 1, range(6, 100, 5)),
    ("Paddle", 1, range(5, 100, 5)),
  )
  def test_other_first_periods(self, heading, first_copy, synchronizations):
    steps = synchronizations[2]  # `fit` then ends with a synchronization.
    gradients = np.random.default_rng(0).normal(size=steps)
    layer = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
    # One input, and the output as loss: the gradient is the input.
    exec(
      _program(heading),
      {
        "data": tf.data.Dataset.from_tensor_slices(
          (gradients.reshape(-1, 1, 1), np.zeros((steps, 1, 1)))
        ),
        "keras": keras,
        "lookahead_tf": lookahead_tf,
        "loss": lambda _, output: output,
        "model": keras.Sequential([keras.Input((1,)), layer]),
      },
    )
    expected = _run(gradients, first_copy, synchronizations)
    self.assertAllClose(layer.kernel, [[expected]], 1e-5, 1e-5)

  def test_arguments_of_the_table_are_told(self):
    _, _, section = PAGE.read_text().partition(
      "## From PyTorch, JAX and Paddle"
    )
    head, _, *rows = re.findall(r"^\|.*\|$", section, re.MULTILINE)[:10]
    ours = re.findall(r"`(\w+)`", rows[0])[:4]
    self.assertEqual(re.findall(r"`(\w+)`", head), [*ours[1:3], "inner_state"])
    for row in rows[1:]:
      cells = [cell.strip() for cell in row.strip("|").split("|")][1:5]
      for cell, name in zip(cells, [*ours[:3], "inner_state"]):
        for theirs in re.findall(r"^`(\w+)(?:=\w+)?`", cell):
          if theirs != name:
            with self.assertRaisesRegex(TypeError, f"`{theirs}` is `{name}`"):
              lookahead_tf.Lookahead("sgd", **{theirs: 0})


if __name__ == "__main__":
  tf.test.main()
