import os

import keras
import numpy as np
import tensorflow as tf

from tests import replicas
from trainers import agreement
from trainers.checkpoints import Checkpoints
from trainers.errors import UserError


def _make_dropout(strategy):
  with strategy.scope():
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dropout(0.5)])
    optimizer = keras.optimizers.SGD()
    optimizer.build([keras.Variable(0.0)])
  return model, optimizer


def _masks(model, strategy):
  """Returns the dropout mask of each replica, and moves the states on."""

  @tf.function
  def draw():
    return strategy.run(lambda: model(tf.ones((1, 64)), training=True))

  masks = strategy.experimental_local_results(draw())
  return [mask.numpy() > 0 for mask in masks]


class SeedsTest(tf.test.TestCase):
  def test_masks_differ_between_replicas_and_come_again(self):
    strategy = replicas.mirrored()
    workdir = os.path.join(self.get_temp_dir(), self.id().split()[0])
    model, optimizer = _make_dropout(strategy)
    self.assertAllEqual(*_masks(model, strategy))  # What is to be mended.
    model, optimizer = _make_dropout(strategy)
    agreement.give_replicas_own_seeds(model, strategy)
    first = _masks(model, strategy)
    self.assertGreater(np.mean(first[0] != first[1]), 0.2)
    checkpoints = Checkpoints(workdir, model, optimizer)
    checkpoints.save(1)
    second = _masks(model, strategy)
    self.assertGreater(np.mean(first[1] != second[1]), 0.2)

    model, optimizer = _make_dropout(strategy)
    Checkpoints(workdir, model, optimizer).restore()
    agreement.give_replicas_own_seeds(model, strategy)
    for mask, again in zip(second, _masks(model, strategy)):
      self.assertAllEqual(mask, again)

  def test_one_device_is_left_alone(self):
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    model, _ = _make_dropout(strategy)
    (state,) = agreement.seed_states(model)
    before = np.array(state)
    agreement.give_replicas_own_seeds(model, strategy)
    self.assertAllEqual(np.array(state), before)


class StatisticsTest(tf.test.TestCase):
  def test_mean_over_replicas(self):
    strategy = replicas.mirrored()
    with strategy.scope():
      model = keras.Sequential(
        [keras.Input((1,)), keras.layers.BatchNormalization(momentum=0.0)]
      )

    @tf.function
    def step():
      def one_replica():
        context = tf.distribute.get_replica_context()
        replica = tf.cast(context.replica_id_in_sync_group, tf.float32)
        model(tf.fill((4, 1), 3.0 + 2.0 * replica), training=True)

      strategy.run(one_replica)

    step()
    mean = model.layers[0].moving_mean
    values = [v.numpy().item() for v in mean.value.values]
    self.assertAllClose(values, [3.0, 5.0])
    agreement.make_average_statistics(model, strategy)()
    values = [v.numpy().item() for v in mean.value.values]
    self.assertAllClose(values, [4.0, 4.0])


class ProcessesTest(tf.test.TestCase):
  """One process; strategies_test.py has two."""

  def test_one_process_agrees_with_itself(self):
    gather = agreement.make_gather(replicas.mirrored())
    self.assertEqual(gather(3), [3])
    agreement.check_same_step(gather, 3)

  def test_processes_that_see_different_directories(self):
    with self.assertRaisesRegex(UserError, r"\[0, 7\]: --workdir must be one"):
      agreement.check_same_step(lambda step: [0, step], 7)

  def test_processes_with_other_data(self):
    gather = agreement.make_gather(replicas.mirrored())
    records = {"config": {"seed": 0}, "source": {"size": 3}}
    agreement.check_same_records(gather, records)
    here = iter([True, False])
    with self.assertRaisesRegex(UserError, "do not have the same source: "):
      agreement.check_same_records(
        lambda number: [number, number if next(here) else 1], records
      )


if __name__ == "__main__":
  tf.test.main()
