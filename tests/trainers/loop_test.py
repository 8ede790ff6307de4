import contextlib
import glob
import io
import os
import signal

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from lookahead_tf import Lookahead
from tests import replicas
from tests.lookahead_tf import algorithm1
from tests.trainers.plan_test import make_plan
from trainers import errors, loop, metrics
from trainers.devices import Runtime
from trainers.errors import UserError
from trainers.input import Input, Pipeline


class _Numbers(Pipeline):
  """Batch i is (i, i + 1), as float32 of shape (2, *shape)."""

  def __init__(self, context, shape=()):
    super().__init__(context)
    self._replica_size = 2 // context.num_replicas_in_sync
    self._shape = shape

  def batches(self, first_step):
    numbers = tf.data.Dataset.range(first_step, 1_000).flat_map(
      lambda i: tf.data.Dataset.range(i, i + 2)
    )
    return numbers.map(
      lambda i: tf.fill(self._shape, tf.cast(i, tf.float32))
    ).batch(self._replica_size)

  def examples(self):
    raise NotImplementedError


def _task(
  strategy, accumulated=None, wrap=lambda optimizer: optimizer, **fields
):
  """One weight that follows the mean of its batches: batch i is (i, i + 1)."""
  with strategy.scope():
    model = keras.Sequential(
      [
        keras.Input((1,)),
        keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros"),
      ]
    )
    inner = keras.optimizers.SGD(0.5, gradient_accumulation_steps=accumulated)
    optimizer = wrap(Lookahead(inner, 3, 0.5))
    optimizer.build(model.trainable_variables)
  (weight,) = model.trainable_variables

  def train_step(batch):
    error = tf.reduce_sum(weight.value - batch) / 2
    optimizer.apply([tf.reshape(error, (1, 1))])
    return {"value": tf.reduce_sum(batch) / 2}

  return loop.Task(
    **{
      "model": model,
      "optimizer": optimizer,
      "input": Input(_Numbers, strategy),
      "train_step": train_step,
      "metrics": ("value",),
      "evaluate": lambda: {"weight": float(np.array(weight)[0, 0])},
      "best": "weight",
      "counts": ("value",),
      **fields,
    }
  )


def _expected(steps):
  """The weight after `steps` steps, from Algorithm 1."""
  (fast,), _ = algorithm1.lookahead(
    algorithm1.Sgd(0.5),
    lambda weights, i: [weights[0] - (i + 0.5)],
    [0.0],
    steps,
    k=3,
    alpha=0.5,
  )
  return fast


def _one_device():
  return tf.distribute.OneDeviceStrategy("CPU:0")


class TrainTest(tf.test.TestCase, parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.workdir = os.path.join(self.get_temp_dir(), self.id().split()[0])

  def _train(self, strategy=None, task=None, **plan):
    strategy = strategy or _one_device()
    task = task or _task(strategy)
    loop.train(task, make_plan(**plan), Runtime(strategy, self.workdir))
    return metrics.read(self.workdir)

  @parameterized.parameters(1, 2)
  def test_steps_metrics_and_evaluations(self, number_of_replicas):
    strategy = replicas.mirrored() if number_of_replicas == 2 else _one_device()
    lines = self._train(strategy)
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
      # Of 2 examples in a step.
      self.assertAllClose(
        line["value_per_second"] / line["train/value"],
        line["examples_per_second"] / 2,
      )

  def test_goes_on_from_the_last_checkpoint(self):
    self._train(total_steps=7)
    lines = self._train()
    self.assertEqual(
      [line["step"] for line in lines], [3, 4, 5, 6, 7, 8, 9, 10, 11]
    )
    self.assertAllClose(lines[-1]["eval/weight"], _expected(11))

  def test_lines_after_the_last_checkpoint_are_made_again(self):
    def fail():
      raise KeyboardInterrupt

    with self.assertRaises(KeyboardInterrupt):
      self._train(task=_task(_one_device(), evaluate=fail), eval_every_steps=9)
    steps = [line["step"] for line in metrics.read(self.workdir)]
    self.assertEqual(steps, [3, 5, 6])
    lines = self._train(eval_every_steps=9)
    self.assertEqual([line["step"] for line in lines], [3, 5, 6, 9, 10, 11])
    self.assertAllClose(lines[-1]["eval/weight"], _expected(11))

  def test_stops_at_the_first_step_that_is_not_finite(self):
    def train_step(batch):
      # The eighth batch is (7, 8).
      return {"value": tf.math.log(7.5 - tf.reduce_mean(batch))}

    with self.assertRaisesRegex(
      UserError,
      r"diverged in step 8: train/value is -inf \(mean of steps 7 to 8\), at "
      r"learning rate 0\.5\. .*checkpoints/ckpt-5\.",
    ):
      self._train(task=_task(_one_device(), train_step=train_step))
    # Nothing was written of the loop with that step.
    self.assertEqual(metrics.read(self.workdir)[-1]["step"], 6)

  def test_only_the_metrics_that_are_not_finite_are_named(self):
    def train_step(batch):
      mean = tf.reduce_mean(batch)
      return {
        "loss": tf.math.sqrt(2.0 - mean),  # The third batch is (2, 3).
        "accuracy": mean,
        "norm": tf.where(mean > 2, tf.constant(float("inf")), mean),
      }

    task = _task(
      _one_device(),
      train_step=train_step,
      metrics=("loss", "accuracy", "norm"),
      counts=(),
    )
    with self.assertRaisesRegex(
      UserError,
      "in step 3: train/loss is nan and train/norm is inf, at learning rate",
    ):
      self._train(task=task, steps_per_loop=1)

  def test_weights_that_are_not_finite_are_not_saved(self):
    task = _task(_one_device())
    (weight,) = task.model.trainable_variables

    def train_step(batch):
      is_last = tf.reduce_mean(batch) > 9  # Of ten steps.
      weight.assign(tf.where(is_last, [[float("inf")]], [[1.0]]))
      return {"value": tf.constant(1.0)}

    with self.assertRaisesRegex(
      UserError,
      # They were looked at after step 8, for the evaluation.
      r"in steps 9 to 10: weight \S*kernel is inf in 1 of its 1 values, at "
      r"learning rate 0\.5\. .*checkpoints/ckpt-5\.",
    ):
      self._train(task=loop.Task(**vars(task) | {"train_step": train_step}))
    files = os.listdir(os.path.join(self.workdir, "checkpoints"))
    self.assertNotIn("ckpt-10.index", files)

  def _train_with_losses(self, *losses, guessing_loss=2.0):
    """Trains with a loss for each step and 10,000 * 2 as the greatest."""
    table = tf.constant(losses)

    def train_step(batch):
      return {"loss": tf.gather(table, tf.cast(batch[0], tf.int32))}

    task = _task(
      _one_device(),
      train_step=train_step,
      metrics=("loss",),
      counts=(),
      guessing_loss=guessing_loss,
    )
    return self._train(task=task, total_steps=len(losses))

  def test_a_loss_without_sense_stops(self):
    with self.assertRaisesRegex(
      UserError,
      r"step 8\b.*train/loss is 2\.9e\+23 .*steps 7 to 8\b.*learning rate 0\.5"
      r"\b.*10,000 times .* is 2\b.*\bckpt-5\b",
    ):
      self._train_with_losses(
        *(1.0, 2.0, 19_000.0, 1.0), *(0.5, 0.5, 20_000.0, 5.8e23)
      )
    self.assertEqual(metrics.read(self.workdir)[-1]["step"], 6)

  def test_losses_that_do_not_stop(self):
    # A mean just within the limit, though one of its steps is beyond.
    lines = self._train_with_losses(1.0, 39_999.0, 19_999.0, 0.5)
    self.assertAllClose(lines[0]["train/loss"], 59_999 / 3)

  def test_nothing_is_known_of_the_loss(self):
    lines = self._train_with_losses(1e30, 1e30, 1e30, guessing_loss=None)
    self.assertAllClose(lines[-1]["train/loss"], 1e30)

  def test_what_is_told(self):
    strategy = _one_device()
    task = _task(
      strategy,
      title="Numbers",
      facts=[("train", "1,000 numbers")],
      notes=[("left out", "3 numbers are left out.")],
      unit="number",
      jit_compile=True,
      metrics=("value",),
      counts=(),
    )
    with (
      contextlib.redirect_stdout(io.StringIO()) as out,
      contextlib.redirect_stderr(io.StringIO()) as err,
    ):
      loop.train(task, make_plan(), Runtime(strategy, self.workdir))
    out, err = out.getvalue(), err.getvalue()
    title, *lines = out.splitlines()
    self.assertEqual(title, "Numbers")
    told = dict(line.strip().split("  ", maxsplit=1) for line in lines[:7])
    self.assertEqual(
      {name: value.strip() for name, value in told.items()},
      {
        "train": "1,000 numbers",
        "left out": "3 numbers are left out.",
        "device": "CPU, --strategy=one_device",
        "precision": "float32, compiled by XLA",
        "length": "11 steps of 2 numbers, 2.75 epochs of 4 steps",
        "evaluation": "every 4 steps, a checkpoint every 5",
        "results in": self.workdir,
      },
    )
    self.assertEqual(
      lines[7:],
      [
        f"after step {step}: validation weight {_expected(step):.4g}"
        for step in (4, 8, 11)
      ],
    )
    self.assertIn("11/11 [", err)
    self.assertIn("step/s, training value 10.5]", err)
    self.assertNotIn("validation", err)

  @parameterized.parameters(
    (3, {}, None),
    (2, {}, "2 updates"),
    (2, {"wrap": keras.optimizers.LossScaleOptimizer}, "2 updates"),
    (6, {"accumulated": 2}, None),
    (5, {"accumulated": 2}, "2 updates"),
    (2, {"wrap": lambda lookahead: lookahead.inner_optimizer}, None),
  )
  def test_a_run_that_ends_before_a_synchronization(
    self, total_steps, fields, updates
  ):
    task = _task(_one_device(), **fields)
    with contextlib.redirect_stdout(io.StringIO()) as out:
      self._train(task=task, total_steps=total_steps)
    told = [line for line in out.getvalue().splitlines() if "slow" in line]
    self.assertLen(told, 1 if updates else 0)
    for line in told:
      self.assertIn(f"run makes {updates}, less than a period of", line)
      self.assertEndsWith(line, "lookahead.sync_period=3")

  def test_the_best_checkpoint_is_kept(self):
    results = iter([1.0, 3.0, 2.0])
    task = _task(_one_device(), evaluate=lambda: {"weight": next(results)})
    self._train(task=task)
    files = os.listdir(os.path.join(self.workdir, "best"))
    self.assertIn("ckpt-8.index", files)
    self.assertLen([name for name in files if name.endswith(".index")], 1)

  def test_the_best_may_be_the_least(self):
    results = iter([3.0, 1.0, 2.0])
    task = _task(
      _one_device(),
      evaluate=lambda: {"weight": next(results)},
      best_is_least=True,
    )
    self._train(task=task)
    files = os.listdir(os.path.join(self.workdir, "best"))
    self.assertIn("ckpt-8.index", files)

  def test_state_that_evaluations_change_goes_on(self):
    class State(tf.Module):
      def __init__(self):
        super().__init__()
        self.sum = tf.Variable(0.0, dtype=tf.float64)

    sums = []
    for total_steps in (4, 5, 11):
      state = State()
      task = _task(
        _one_device(),
        state=state,
        on_evaluation=lambda values, state=state: state.sum.assign_add(
          values["weight"]
        ),
      )
      lines = self._train(
        task=task, total_steps=total_steps, checkpoint_every_steps=20
      )
      sums.append(state.sum.numpy())
      weights = [line["eval/weight"] for line in lines if "eval/weight" in line]
      self.assertAllClose(sums[-1], sum(weights))

  def test_of_equal_evaluations_the_last_is_the_best(self):
    self._train(task=_task(_one_device(), evaluate=lambda: {"weight": 0.0}))
    files = os.listdir(os.path.join(self.workdir, "best"))
    self.assertIn("ckpt-11.index", files)

  @parameterized.parameters(
    (signal.SIGTERM, errors.Interrupted, "SIGTERM"),
    (signal.SIGINT, KeyboardInterrupt, "Ctrl-C"),
  )
  def test_a_signal_saves_and_resumes(self, number, kind, name):
    task = _task(_one_device())

    def evaluate():
      os.kill(os.getpid(), number)
      return task.evaluate()

    with self.assertRaisesRegex(
      kind, f"by {name} after step 4 of 11.*same command"
    ):
      self._train(
        task=_task(_one_device(), evaluate=evaluate), checkpoint_every_steps=11
      )
    before = metrics.read(self.workdir)
    self.assertEqual(before[-1]["step"], 4)
    lines = self._train(checkpoint_every_steps=11)
    # It went on from there: times of lines that are made again would differ.
    self.assertEqual(lines[: len(before)], before)
    steps = [line["step"] for line in lines]
    self.assertEqual(steps, [3, 4, 6, 8, 9, 11])
    self.assertAllClose(lines[-1]["eval/weight"], _expected(11))

  def test_profile(self):
    lines = self._train(profile_steps=(5, 7))
    # The host stops before the first of these steps and after the last.
    self.assertContainsSubset([4, 7], [line["step"] for line in lines])
    pattern = os.path.join(
      self.workdir, "events", "plugins", "profile", "*", "*.xplane.pb"
    )
    (trace,) = glob.glob(pattern)
    self.assertGreater(os.path.getsize(trace), 1000)


class ReplicaStateTest(tf.test.TestCase):
  def test_dropout_and_statistics_of_two_replicas(self):
    strategy = replicas.mirrored()
    with strategy.scope():
      norm = keras.layers.BatchNormalization(momentum=0.0)
      dropout = keras.layers.Dropout(0.5)
      model = keras.Sequential([keras.Input((64,)), norm, dropout])
      optimizer = keras.optimizers.SGD(0.0)
      optimizer.build(model.trainable_variables)

    def train_step(batch):
      model(batch, training=True)
      mask = dropout(tf.ones((1, 64)), training=True) > 0
      context = tf.distribute.get_replica_context()
      masks = context.all_gather(tf.cast(mask, tf.float32), axis=0)
      difference = tf.reduce_mean(tf.abs(masks[0] - masks[1]))
      return {"difference": difference / 2}

    task = loop.Task(
      model=model,
      optimizer=optimizer,
      input=Input(lambda context: _Numbers(context, (64,)), strategy),
      train_step=train_step,
      metrics=("difference",),
      evaluate=lambda: {"weight": 0.0},
      best="weight",
    )
    workdir = os.path.join(self.get_temp_dir(), self.id().split()[0])
    plan = make_plan(total_steps=4, steps_per_loop=1)
    loop.train(task, plan, Runtime(strategy, workdir))
    for line in metrics.read(workdir):
      self.assertGreater(line["train/difference"], 0.1)
    # Of the last step: 3 on one replica, 4 on the other.
    for part in norm.moving_mean.value.values:
      self.assertAllClose(part, tf.fill((64,), 3.5))


if __name__ == "__main__":
  tf.test.main()
