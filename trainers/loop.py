"""The training loop: steps in the graph, everything else on the host."""

import contextlib
import dataclasses
import functools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf
import tqdm

from trainers import (
  errors,
  interruption,
  metrics,
  profiling,
  replica_state,
  workers,
)
from trainers.checkpoints import Checkpoints
from trainers.errors import UserError
from trainers.plan import Plan
from trainers.runtime import Runtime


@dataclasses.dataclass(frozen=True)
class Task:
  """What a trainer gives to the loop.

  Attributes:
    model: Built in the strategy's scope.
    optimizer: Built in the strategy's scope.
    train_data: A function of the first step and a `tf.distribute.InputContext`;
      returns a `tf.data.Dataset` of batches for one replica each, from that
      step on, those of this host's replicas in turn, in an order that depends
      on nothing but the step.
    train_step: A function of such a batch, run in each replica: it updates the
      model and returns its share of the figures of the global batch.
    figures: Names of what `train_step` returns, scalars that are summed over
      replicas and averaged over steps.
    evaluate: Returns the figures of an evaluation.
    best: The figure of an evaluation by which the best checkpoint is chosen,
      that with the greatest.
    counts: Those of `figures` that count something in a step: they are written
      per second too.
    explain: A function of (first_step, steps), called after an error that the
      input of these steps may have caused: returns what is wrong with it, or
      None if nothing is.
  """

  model: keras.Model
  optimizer: keras.optimizers.Optimizer
  train_data: Callable[[int, tf.distribute.InputContext], tf.data.Dataset]
  train_step: Callable[[Any], Mapping[str, tf.Tensor]]
  figures: tuple[str, ...]
  evaluate: Callable[[], Mapping[str, float]]
  best: str
  counts: tuple[str, ...] = ()
  explain: Callable[[int, int], UserError | None] = lambda first, steps: None


def train(task: Task, plan: Plan, runtime: Runtime) -> None:
  """Trains to the end of `plan`, from the last checkpoint in workdir if any.

  Args:
    task: What to train, and on what.
    plan: For how long, and when to do what.
    runtime: Where and how.

  Raises:
    UserError: if a figure of the training is not finite, if a file cannot be
      written, or if the input cannot be read.
    Interrupted: after a SIGTERM, when all is saved.
  """
  strategy = runtime.strategy
  # To resume: 1. weights, optimizer and seeds, 2. which differ by replica;
  checkpoints = Checkpoints(
    runtime.workdir,
    task.model,
    task.optimizer,
    plan.keep_checkpoints,
    plan.is_checkpoint_due,
  )
  step = checkpoints.restore()
  gather = workers.make_gather(strategy)
  workers.check_same_step(gather, step)
  replica_state.give_replicas_own_seeds(task.model, strategy)
  # 3. the figures up to that step; 4. the input from that step on.
  writer = metrics.open_writer(runtime.workdir, step, runtime.is_chief)
  batches = iter(
    strategy.distribute_datasets_from_function(
      lambda context: task.train_data(step, context)
    )
  )
  run_steps = make_loop(task.train_step, task.figures, strategy)
  host = _Host(task, plan, runtime, checkpoints, writer, step)
  with contextlib.ExitStack() as stack:
    stack.callback(writer.close)
    stack.enter_context(interruption.of_lost_hosts(strategy))
    watch = stack.enter_context(interruption.Watch())
    profiler = stack.enter_context(_profiler(plan, runtime))
    progress = stack.enter_context(_progress_bar(plan, step, runtime))
    while step < plan.total_steps:
      profiler.before(step + 1)
      count = plan.next_stop(step) - step
      started = time.perf_counter()
      with errors.explaining_input(
        functools.partial(task.explain, step, count)
      ):
        figures, finite = run_steps(batches, tf.constant(count))
      values = {f"train/{name}": float(v) for name, v in figures.items()}
      seconds = time.perf_counter() - started
      host.check_finite(values, step, count, int(finite))
      step += count
      profiler.after(step)
      progress.update(count)
      values |= _speeds(task, plan, values, count / seconds)
      stops = any(gather(int(watch.is_requested)))
      evaluated = host.finish(step, values, stops)
      progress.set_postfix({k: f"{v:.4f}" for k, v in evaluated.items()})


class _Host:
  """What is done between calls of the compiled loop."""

  def __init__(self, task, plan, runtime, checkpoints, writer, step):
    self._task, self._plan = task, plan
    self._is_chief = runtime.is_chief
    self._checkpoints, self._writer = checkpoints, writer
    self._average_statistics = replica_state.make_average_statistics(
      task.model, runtime.strategy
    )
    self._evaluated = {}
    self._finite_step = step  # The last after which weights were looked at.

  def check_finite(self, values, step, count, finite):
    """Raises a UserError if fewer than `count` steps after `step` were finite.

    Args:
      values: Means over these steps, by name.
      step: The last step before them.
      count: How many they are.
      finite: How many of them precede the first that is not finite.
    """
    if finite < count:
      symptom = " and ".join(
        f"{name} is {value}"
        for name, value in values.items()
        if not math.isfinite(value)
      )
      if count > 1:
        symptom += f" (mean of steps {step + 1} to {step + count})"
      self._stop(f"step {step + finite + 1}", symptom)

  def _check_weights(self, step):
    """Raises a UserError if a weight is not finite, before it is saved."""
    for variable in self._task.model.trainable_variables:
      is_finite = tf.math.is_finite(variable.value)
      if not tf.reduce_all(is_finite):
        wrong = tf.boolean_mask(variable.value, ~is_finite).numpy()
        first = self._finite_step + 1
        self._stop(
          f"step {step}" if first == step else f"steps {first} to {step}",
          f"weight {variable.path} is {wrong[0]} in {wrong.size:,} of its "
          f"{tf.size(is_finite):,} values",
        )
    self._finite_step = step

  def _stop(self, steps, symptom):
    raise UserError(
      f"Training diverged in {steps}: {symptom}, at learning rate "
      f"{self._learning_rate():g}. The last good checkpoint is "
      f"{self._checkpoints.latest or 'none'}. Try a lower learning rate "
      "or a longer warmup, in another --workdir."
    )

  def finish(self, step, values, stops):
    """Evaluates, writes and saves what is due; returns the last evaluation."""
    plan = self._plan
    evaluates = plan.is_evaluation_due(step)
    saves = plan.is_checkpoint_due(step)
    stops = stops and step < plan.total_steps
    if evaluates or saves or stops:
      self._check_weights(step)
      self._average_statistics()
    values["train/learning_rate"] = self._learning_rate()
    if evaluates:
      self._evaluated = dict(self._task.evaluate())
      values |= {f"eval/{name}": v for name, v in self._evaluated.items()}
    self._writer.write(step, step / plan.steps_per_epoch, values)
    # Only one process writes; all of them read.
    if evaluates and self._is_chief:
      self._checkpoints.save_if_best(step, self._evaluated[self._task.best])
    if (saves or stops) and self._is_chief:
      self._checkpoints.save(step)
    if stops:
      raise interruption.Interrupted(
        f"Stopped by SIGTERM after step {step} of {plan.total_steps}, with a "
        "checkpoint: run the same command again to go on."
      )
    return self._evaluated

  def _learning_rate(self):
    return float(keras.ops.convert_to_numpy(self._task.optimizer.learning_rate))


def make_loop(
  train_step: Callable[[Any], Mapping[str, tf.Tensor]],
  figures: Sequence[str],
  strategy: tf.distribute.Strategy,
) -> Callable[[Any, tf.Tensor], tuple[Mapping[str, tf.Tensor], tf.Tensor]]:
  """Returns a function that makes training steps and averages their figures.

  Args:
    train_step: One replica's step, as in `Task`.
    figures: Names of what it returns.
    strategy: The one to run it with.

  Returns:
    A tf.function of an iterator over distributed batches and the number of
    steps, an integer scalar. All steps are made in the graph. It returns the
    figures' means over them, float32 scalars, and the number of steps before
    the first whose figures were not finite, int32.
  """

  @tf.function
  def run_steps(batches, count):
    sums = {name: tf.zeros([]) for name in figures}
    # Nothing waits for it: a GPU gets the next step while this one runs.
    finite = tf.constant(0)
    for _ in tf.range(count):
      step = strategy.run(train_step, args=(next(batches),))
      sums = {
        name: value
        + strategy.reduce(tf.distribute.ReduceOp.SUM, step[name], axis=None)
        for name, value in sums.items()
      }
      # A sum that is not finite stays so.
      is_finite = tf.reduce_all(tf.math.is_finite(list(sums.values())))
      finite += tf.cast(is_finite, tf.int32)
    means = {
      name: value / tf.cast(count, tf.float32) for name, value in sums.items()
    }
    return means, finite

  return run_steps


def _speeds(task, plan, values, steps_per_second):
  """Returns what was trained on in a second."""
  speeds = {"examples": plan.global_batch_size}
  speeds |= {name: values[f"train/{name}"] for name in task.counts}
  return {
    f"{name}_per_second": per_step * steps_per_second
    for name, per_step in speeds.items()
  }


def _profiler(plan, runtime):
  steps = plan.profile_steps if runtime.is_chief else None
  return profiling.Profiler(runtime.workdir, steps)


def _progress_bar(plan, step, runtime):
  return tqdm.tqdm(
    total=plan.total_steps,
    initial=step,
    desc=runtime.workdir,
    unit="step",
    disable=not runtime.is_chief,
  )
