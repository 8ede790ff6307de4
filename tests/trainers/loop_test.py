import os

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from lookahead_tf import Lookahead
from tests import replicas
from trainers import loop, metrics


def _plan(**fields):
  return loop.Plan(
    **{
      "total_steps": 11,
      "steps_per_epoch": 4,
      "steps_per_loop": 3,
      "eval_every_steps": 4,
      "checkpoint_every_steps": 5,
      "global_batch_size": 2,
      **fields,
    }
  )


class PlanTest(tf.test.TestCase):
  def test_stops_wherever_the_host_has_work(self):
    step, stops = 0, []
    while step < 11:
      step = _plan().next_stop(step)
      stops.append(step)
    self.assertEqual(stops, [3, 4, 5, 6, 8, 9, 10, 11])

  def test_is_due_every_period_and_at_the_end(self):
    plan = _plan()
    due = [step for step in range(1, 12) if plan.is_due(4, step)]
    self.assertEqual(due, [4, 8, 11])

  def test_steps_in_epochs(self):
    self.assertEqual(loop.steps_in(2.0, 10), 20)
    self.assertEqual(loop.steps_in(0.25, 10), 3)
    self.assertEqual(loop.steps_in(0.0, 10), 1)


def _task(strategy):
  """One weight that follows the mean of its batches: batch i is (i, i + 1)."""
  with strategy.scope():
    model = keras.Sequential(
      [
        keras.Input((1,)),
        keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros"),
      ]
    )
    optimizer = Lookahead(keras.optimizers.SGD(0.5), 3, 0.5)
    optimizer.build(model.trainable_variables)
  (weight,) = model.trainable_variables

  def train_data(first_step):
    steps = tf.data.Dataset.range(first_step, 1_000)
    batches = steps.map(lambda i: tf.cast(tf.stack([i, i + 1]), tf.float32))
    return batches.rebatch(2 // strategy.num_replicas_in_sync)

  def train_step(batch):
    error = tf.reduce_sum(weight.value - batch) / 2
    optimizer.apply([tf.reshape(error, (1, 1))])
    return {"value": tf.reduce_sum(batch) / 2}

  return loop.Task(
    model=model,
    optimizer=optimizer,
    train_data=train_data,
    train_step=train_step,
    figures=("value",),
    evaluate=lambda: {"weight": float(np.array(weight)[0, 0])},
  )


def _expected(steps):
  """The weight after `steps` steps, from Algorithm 1."""
  slow = fast = 0.0
  for i in range(steps):
    fast -= 0.5 * (fast - (i + 0.5))
    if (i + 1) % 3 == 0:
      slow = fast = slow + 0.5 * (fast - slow)
  return fast


class TrainTest(tf.test.TestCase, parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.workdir = os.path.join(self.get_temp_dir(), self.id())

  @parameterized.parameters(1, 2)
  def test_steps_figures_and_evaluations(self, number_of_replicas):
    strategy = (
      replicas.mirrored()
      if number_of_replicas == 2
      else tf.distribute.OneDeviceStrategy("CPU:0")
    )
    loop.train(_task(strategy), _plan(), strategy, self.workdir)
    lines = metrics.read(self.workdir)
    self.assertEqual(
      [line["step"] for line in lines], [3, 4, 5, 6, 8, 9, 10, 11]
    )
    # The mean over the steps since the line before.
    values = [line["train/value"] for line in lines]
    self.assertAllClose(values, [1.5, 3.5, 4.5, 5.5, 7.0, 8.5, 9.5, 10.5])
    weights = {
      line["step"]: line["eval/weight"]
      for line in lines
      if "eval/weight" in line
    }
    self.assertAllClose(weights, {i: _expected(i) for i in (4, 8, 11)})
    for line in lines:
      self.assertAllClose(line["train/learning_rate"], 0.5)
      self.assertAllClose(line["epoch"], line["step"] / 4)
      self.assertGreater(line["examples_per_second"], 0)

  def test_goes_on_from_the_last_checkpoint(self):
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    loop.train(_task(strategy), _plan(total_steps=7), strategy, self.workdir)
    loop.train(_task(strategy), _plan(), strategy, self.workdir)
    lines = metrics.read(self.workdir)
    self.assertEqual(
      [line["step"] for line in lines], [3, 4, 5, 6, 7, 8, 9, 10, 11]
    )
    self.assertAllClose(lines[-1]["eval/weight"], _expected(11))

  def test_lines_after_the_last_checkpoint_are_made_again(self):
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    task = _task(strategy)

    def fail():
      raise KeyboardInterrupt

    with self.assertRaises(KeyboardInterrupt):
      loop.train(
        loop.Task(**{**vars(task), "evaluate": fail}),
        _plan(eval_every_steps=9),
        strategy,
        self.workdir,
      )
    steps = [line["step"] for line in metrics.read(self.workdir)]
    self.assertEqual(steps, [3, 5, 6])
    loop.train(
      _task(strategy), _plan(eval_every_steps=9), strategy, self.workdir
    )
    lines = metrics.read(self.workdir)
    self.assertEqual([line["step"] for line in lines], [3, 5, 6, 9, 10, 11])
    self.assertAllClose(lines[-1]["eval/weight"], _expected(11))


if __name__ == "__main__":
  tf.test.main()
