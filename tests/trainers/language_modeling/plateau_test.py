import math

import tensorflow as tf
from absl.testing import parameterized

from trainers.language_modeling.plateau import RateFactors


def _factors(losses, patience=3, factor=0.5):
  made = RateFactors(patience, factor, tf.distribute.get_strategy())
  values = []
  for loss in losses:
    made.observe(loss)
    values.append(float(made.plateau.numpy()))
  return values


class PlateauTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.parameters(
    ([5, 4, 3, 2, 1], [1] * 5),
    # After three without a better one, and counting anew.
    ([5, 5, 6, 5, 5, 5, 5], [1, 1, 1, 0.5, 0.5, 0.5, 0.25]),
    ([5, 6, 6, 4, 6, 6, 4, 4], [1, 1, 1, 1, 1, 1, 0.5, 0.5]),
    ([math.nan] * 3, [1, 1, 0.5]),
  )
  def test_halves(self, losses, expected):
    self.assertEqual(_factors(losses), expected)

  def test_without_patience_never(self):
    self.assertEqual(_factors([1.0] * 50, patience=0), [1.0] * 50)

  def test_its_state_is_saved(self):
    one, other = (
      RateFactors(3, 0.5, tf.distribute.get_strategy()) for _ in range(2)
    )
    for loss in (1, 2, 2, 2, 2, 2):
      one.observe(loss)
    path = tf.train.Checkpoint(state=one).write(f"{self.get_temp_dir()}/x")
    tf.train.Checkpoint(state=other).read(path).assert_consumed()
    other.observe(0.5)
    self.assertEqual(other.plateau.numpy(), 0.5)
    for _ in range(3):
      other.observe(0.5)
    self.assertEqual(other.plateau.numpy(), 0.25)


if __name__ == "__main__":
  tf.test.main()
