"""The training loop: steps in the graph, everything else on the host."""

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf
import tqdm

from trainers.checkpoints import Checkpoints
from trainers.errors import UserError
from trainers.metrics import MetricsWriter


@dataclasses.dataclass(frozen=True)
class Plan:
  """What happens at which step.

  Attributes:
    total_steps: Training steps in all.
    steps_per_epoch: Training steps in an epoch.
    steps_per_loop: Steps in one call of the compiled loop, after which the
      host writes training figures.
    eval_every_steps: Evaluate every so many steps, and after the last.
    checkpoint_every_steps: Likewise for checkpoints.
    global_batch_size: Examples in a step, over all replicas.
  """

  total_steps: int
  steps_per_epoch: int
  steps_per_loop: int
  eval_every_steps: int
  checkpoint_every_steps: int
  global_batch_size: int

  def next_stop(self, step: int) -> int:
    """Returns the first step after `step` at which the host has work."""
    periods = (
      self.steps_per_loop,
      self.eval_every_steps,
      self.checkpoint_every_steps,
    )
    return min(
      self.total_steps, *(period * (step // period + 1) for period in periods)
    )

  def is_due(self, period: int, step: int) -> bool:
    """Whether what happens every `period` steps happens after `step`."""
    return step % period == 0 or step == self.total_steps


@dataclasses.dataclass(frozen=True)
class Task:
  """What a trainer gives to the loop.

  Attributes:
    model: Built in the strategy's scope.
    optimizer: Built in the strategy's scope.
    train_data: A function of the first step; returns a `tf.data.Dataset` of
      batches for one replica each, from that step on, in an order that depends
      on nothing but the step.
    train_step: A function of such a batch, run in each replica: it updates the
      model and returns its share of the figures of the global batch.
    figures: Names of what `train_step` returns, scalars that are summed over
      replicas and averaged over steps.
    evaluate: Returns the figures of an evaluation.
  """

  model: keras.Model
  optimizer: keras.optimizers.Optimizer
  train_data: Callable[[int], tf.data.Dataset]
  train_step: Callable[[Any], Mapping[str, tf.Tensor]]
  figures: tuple[str, ...]
  evaluate: Callable[[], Mapping[str, float]]


def train(
  task: Task,
  plan: Plan,
  strategy: tf.distribute.Strategy,
  workdir: str,
) -> None:
  """Trains to the end of `plan`, from the last checkpoint in `workdir` if any.

  Args:
    task: What to train, and on what.
    plan: For how long, and when to do what.
    strategy: The one in whose scope the model was built.
    workdir: Directory of the run.

  Raises:
    UserError: if a figure of the training is not finite.
  """
  checkpoints = Checkpoints(workdir, task.model, task.optimizer)
  step = checkpoints.restore()
  metrics = MetricsWriter(workdir, step)
  batches = iter(
    strategy.distribute_datasets_from_function(
      lambda context: task.train_data(step)
    )
  )
  run_steps = make_loop(task.train_step, task.figures, strategy)
  with tqdm.tqdm(
    total=plan.total_steps, initial=step, desc=workdir, unit="step"
  ) as progress:
    while step < plan.total_steps:
      count = plan.next_stop(step) - step
      started = time.perf_counter()
      figures = _to_host(run_steps(batches, tf.constant(count)))
      seconds = time.perf_counter() - started
      step += count
      _check_finite(figures, step, count, task.optimizer, checkpoints)
      progress.update(count)
      values = {f"train/{name}": value for name, value in figures.items()}
      values["train/learning_rate"] = _learning_rate(task.optimizer)
      values["examples_per_second"] = count * plan.global_batch_size / seconds
      if plan.is_due(plan.eval_every_steps, step):
        evaluated = task.evaluate()
        values |= {f"eval/{name}": value for name, value in evaluated.items()}
        progress.set_postfix(
          {name: f"{value:.4f}" for name, value in evaluated.items()}
        )
      metrics.write(step, step / plan.steps_per_epoch, values)
      if plan.is_due(plan.checkpoint_every_steps, step):
        checkpoints.save(step)
  metrics.close()


def make_loop(
  train_step: Callable[[Any], Mapping[str, tf.Tensor]],
  figures: Sequence[str],
  strategy: tf.distribute.Strategy,
) -> Callable[[Any, tf.Tensor], Mapping[str, tf.Tensor]]:
  """Returns a function that makes training steps and averages their figures.

  Args:
    train_step: One replica's step, as in `Task`.
    figures: Names of what it returns.
    strategy: The one to run it with.

  Returns:
    A tf.function of an iterator over distributed batches and the number of
    steps, an integer scalar. All steps are made in the graph; it returns the
    figures' means over them, float32 scalars.
  """

  @tf.function
  def run_steps(batches, count):
    sums = {name: tf.zeros([]) for name in figures}
    for _ in tf.range(count):
      step = strategy.run(train_step, args=(next(batches),))
      sums = {
        name: value
        + strategy.reduce(tf.distribute.ReduceOp.SUM, step[name], axis=None)
        for name, value in sums.items()
      }
    return {
      name: value / tf.cast(count, tf.float32) for name, value in sums.items()
    }

  return run_steps


def _check_finite(figures, step, count, optimizer, checkpoints):
  """Raises a UserError if training has diverged."""
  if not all(math.isfinite(value) for value in figures.values()):
    raise UserError(
      f"Training diverged in the {count} steps before step {step}: {figures}, "
      f"at learning rate {_learning_rate(optimizer):g}. The last checkpoint is "
      f"{checkpoints.latest or 'none'}. Try a lower learning_rate.peak, or a "
      "longer learning_rate.warmup_epochs, in another --workdir."
    )


def _learning_rate(optimizer):
  return float(keras.ops.convert_to_numpy(optimizer.learning_rate))


def _to_host(figures):
  return {name: float(value) for name, value in figures.items()}


def steps_in(epochs: float, steps_per_epoch: int) -> int:
  """Returns the steps in so many epochs, at least one."""
  return max(1, math.ceil(epochs * steps_per_epoch))
