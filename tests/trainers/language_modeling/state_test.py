import math

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from tests import replicas
from trainers.language_modeling.state import CarriedState, RateFactors

_WIDTHS = (3, 2)


def _strategy(count):
  if count == 2:
    return replicas.mirrored()
  return tf.distribute.OneDeviceStrategy("CPU:0")


def _add_own_numbers(strategy, state, is_first):
  """Adds to each column its number, counted over all replicas, from 1."""
  rows = 4 // strategy.num_replicas_in_sync

  @tf.function
  def run():
    def one_replica():
      context = tf.distribute.get_replica_context()
      first = tf.cast(context.replica_id_in_sync_group * rows, tf.float32)
      numbers = first + tf.range(1.0, rows + 1)[:, tf.newaxis]
      before = state.read(tf.constant(is_first), tf.float32)
      state.write([(h + numbers, c - numbers) for h, c in before])

    strategy.run(one_replica)

  run()


class CarriedStateTest(tf.test.TestCase, parameterized.TestCase):
  def assertTimes(self, state, times):
    numbers = times * np.arange(1.0, 5.0)[:, np.newaxis]
    for variable, width, sign in zip(
      state.variables, (3, 3, 2, 2), (1, -1, 1, -1)
    ):
      self.assertAllEqual(variable, sign * np.repeat(numbers, width, axis=1))

  @parameterized.parameters(1, 2)
  def test_each_replica_has_its_columns_and_holds_all(self, count):
    strategy = _strategy(count)
    state = CarriedState(_WIDTHS, 4, strategy)
    self.assertTimes(state, 0)
    for times in (1, 2, 3):
      _add_own_numbers(strategy, state, is_first=False)
      self.assertTimes(state, times)
    for part in state.variables:
      for local in strategy.experimental_local_results(part):
        self.assertAllEqual(local, part)
    _add_own_numbers(strategy, state, is_first=True)
    self.assertTimes(state, 1)

  def test_replicas_that_make_steps_by_themselves_hold_their_own(self):
    strategy = _strategy(2)
    state = CarriedState(_WIDTHS, 4, strategy, is_local=True)
    for times in (1, 2):
      _add_own_numbers(strategy, state, is_first=False)
      for replica, h in enumerate(state.variables[0].values):
        expected = np.where(
          np.arange(4) // 2 == replica, times * np.arange(1.0, 5.0), 0.0
        )
        self.assertAllEqual(h[:, 0], expected)
    for times in (2, 3):
      state.gather()
      self.assertTimes(state, times)
      for part in state.variables:
        for local in strategy.experimental_local_results(part):
          self.assertAllEqual(local, part)
      _add_own_numbers(strategy, state, is_first=False)

  def test_goes_on_with_another_number_of_replicas(self):
    one, two = _strategy(1), _strategy(2)
    before = CarriedState(_WIDTHS, 4, two)
    _add_own_numbers(two, before, is_first=False)
    path = tf.train.Checkpoint(state=before).write(f"{self.get_temp_dir()}/x")
    after = CarriedState(_WIDTHS, 4, one)
    tf.train.Checkpoint(state=after).read(path).assert_consumed()
    _add_own_numbers(one, after, is_first=False)
    self.assertTimes(after, 2)


def _factors(losses, patience=3, factor=0.5):
  made = RateFactors(patience, factor, tf.distribute.get_strategy())
  values = []
  for loss in losses:
    made.observe(loss)
    values.append(float(made.plateau.numpy()))
  return values


class RateFactorsTest(tf.test.TestCase, parameterized.TestCase):
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
