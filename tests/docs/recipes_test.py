"""The programs in docs/recipes.md do what is said of them."""

import pathlib
import re

import keras
import tensorflow as tf

import lookahead_tf

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "recipes.md"


def _program(heading):
  """Returns the first program below a heading."""
  _, _, section = PAGE.read_text().partition(f"## {heading}\n")
  return re.search(r"```python\n(.*?)```", section, re.DOTALL).group(1)


class RangerTest(tf.test.TestCase):
  def test_both_ways_to_make_it_are_one(self):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    names = {"lookahead_tf": lookahead_tf, "loss": "mse", "model": model}
    exec(_program("Ranger"), names)
    ranger, optimizer = model.optimizer, names["optimizer"]
    self.assertIsInstance(ranger, lookahead_tf.Ranger)
    for one, other in (
      (ranger.inner_optimizer, optimizer.inner_optimizer),
      (ranger, optimizer),
    ):
      config = one.get_config()
      same = {k: v for k, v in other.get_config().items() if k in config}
      self.assertGreater(len(same), 5)
      self.assertEqual(config | same, config | {"name": same["name"]})


if __name__ == "__main__":
  tf.test.main()
