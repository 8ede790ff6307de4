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

from trainers import agreement, errors, metrics, profiling
from trainers.checkpoints import Checkpoints
from trainers.devices import Runtime
from trainers.errors import UserError
from trainers.input import Input


@dataclasses.dataclass(frozen=True)
class Plan:
  """What happens at which step; steps are counted from 1.

  Attributes:
    total_steps: Training steps in all.
    steps_per_epoch: Training steps in an epoch.
    steps_per_loop: Steps in one call of the compiled loop, after which the
      host writes training metrics.
    eval_every_steps: Evaluate after every so many steps, and after the last.
    checkpoint_every_steps: Likewise for checkpoints.
    global_batch_size: Examples in a step, over all replicas.
    keep_checkpoints: How many of the last checkpoints to keep.
    profile_steps: The first and the last step of a trace, or None.

  Raises:
    UserError: if the trace would begin after the last step.
  """

  total_steps: int
  steps_per_epoch: int
  steps_per_loop: int
  eval_every_steps: int
  checkpoint_every_steps: int
  global_batch_size: int
  keep_checkpoints: int = 2
  profile_steps: tuple[int, int] | None = None

  def __post_init__(self):
    if self.profile_steps and self.profile_steps[0] > self.total_steps:
      raise UserError(
        f"--profile_steps={self.profile_steps[0]}-{self.profile_steps[1]} "
        f"begins after the last step, which is {self.total_steps}."
      )

  def next_stop(self, step: int) -> int:
    """Returns the first step after `step` at which the host has work."""
    periods = (
      self.steps_per_loop,
      self.eval_every_steps,
      self.checkpoint_every_steps,
    )
    stops = [period * (step // period + 1) for period in periods]
    if self.profile_steps:
      first, last = self.profile_steps
      stops += [stop for stop in (first - 1, last) if stop > step]
    return min(self.total_steps, *stops)

  def is_evaluation_due(self, step: int) -> bool:
    """Whether to evaluate after `step`."""
    return self._is_due(self.eval_every_steps, step)

  def is_checkpoint_due(self, step: int) -> bool:
    """Whether to save a checkpoint after `step`."""
    return self._is_due(self.checkpoint_every_steps, step)

  def _is_due(self, period, step):
    return step % period == 0 or step == self.total_steps


def steps_in(epochs: float, steps_per_epoch: int) -> int:
  """Returns the steps in so many epochs, at least one."""
  return max(1, math.ceil(epochs * steps_per_epoch))


@dataclasses.dataclass(frozen=True)
class Task:
  """What a trainer gives to the loop.

  Attributes:
    model: Built in the strategy's scope.
    optimizer: Built in the strategy's scope.
    input: The batches to train on.
    train_step: A function of one replica's batch, run in each replica. It
      updates the model and returns this replica's share of the metrics of the
      global batch.
    metrics: Names of what `train_step` returns: float32 scalars that are summed
      over replicas and averaged over steps.
    evaluate: Returns the metrics of an evaluation.
    best: The metric of an evaluation whose greatest value marks the best
      checkpoint.
    counts: Those of `metrics` that count something in a step, such as tokens.
      They are written per second too.
    best_is_least: Whether the least value of `best` marks it instead.
    state: What checkpoints hold beside model, optimizer and step, if anything.
    on_evaluation: Called with the metrics of each evaluation, before a
      checkpoint of that step is saved: so it may change `state`.
  """

  model: keras.Model
  optimizer: keras.optimizers.Optimizer
  input: Input
  train_step: Callable[[Any], Mapping[str, tf.Tensor]]
  metrics: tuple[str, ...]
  evaluate: Callable[[], Mapping[str, float]]
  best: str
  counts: tuple[str, ...] = ()
  best_is_least: bool = False
  state: tf.Module | None = None
  on_evaluation: Callable[[Mapping[str, float]], None] = lambda metrics: None


def train(task: Task, plan: Plan, runtime: Runtime) -> None:
  """Trains to the end of `plan`, from the last checkpoint in workdir if any.

  Args:
    task: What to train, and on what.
    plan: For how long, and when to do what.
    runtime: Where and how.

  Raises:
    UserError: if a metric of the training is not finite, if a file cannot be
      written, or if the input cannot be read.
    Interrupted: after a SIGTERM, when all is saved.
  """
  strategy = runtime.strategy
  # To go on from a checkpoint, four things come back. First weights, optimizer
  # and seeds:
  checkpoints = Checkpoints(
    runtime.workdir,
    task.model,
    task.optimizer,
    plan.keep_checkpoints,
    plan.is_checkpoint_due,
    task.state,
  )
  step = checkpoints.restore()
  gather = agreement.make_gather(strategy)
  agreement.check_same_step(gather, step)
  # Second, seeds that differ by replica:
  agreement.give_replicas_own_seeds(task.model, strategy)
  # Third, the metrics up to that step; fourth, the input from that step on.
  writer = metrics.open_writer(runtime.workdir, step, runtime.is_chief)
  batches = iter(task.input.batches(step))
  run_steps = make_loop(task.train_step, task.metrics, strategy)
  host = _Host(task, plan, runtime, checkpoints, writer, step)
  with contextlib.ExitStack() as stack:
    stack.callback(writer.close)
    stack.enter_context(errors.interrupted_by_lost_hosts(strategy))
    watch = stack.enter_context(errors.SigtermWatch())
    profiler = stack.enter_context(_profiler(plan, runtime))
    progress = stack.enter_context(_progress_bar(plan, step, runtime))
    while step < plan.total_steps:
      profiler.before(step + 1)
      count = plan.next_stop(step) - step
      started = time.perf_counter()
      with errors.explaining_input(
        functools.partial(task.input.find_unreadable, step, count)
      ):
        means, finite = run_steps(batches, tf.constant(count))
      values = {f"train/{name}": float(v) for name, v in means.items()}
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
    self._average_statistics = agreement.make_average_statistics(
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
      self._task.on_evaluation(self._evaluated)
    self._writer.write(step, step / plan.steps_per_epoch, values)
    # Only one process writes; all of them read.
    if evaluates and self._is_chief:
      result = self._evaluated[self._task.best]
      self._checkpoints.save_if_best(
        step, -result if self._task.best_is_least else result
      )
    if (saves or stops) and self._is_chief:
      self._checkpoints.save(step)
    if stops:
      raise errors.Interrupted(
        f"Stopped by SIGTERM after step {step} of {plan.total_steps}, with a "
        "checkpoint: run the same command again to go on."
      )
    return self._evaluated

  def _learning_rate(self):
    return float(keras.ops.convert_to_numpy(self._task.optimizer.learning_rate))


def make_loop(
  train_step: Callable[[Any], Mapping[str, tf.Tensor]],
  names: Sequence[str],
  strategy: tf.distribute.Strategy,
) -> Callable[[Any, tf.Tensor], tuple[Mapping[str, tf.Tensor], tf.Tensor]]:
  """Returns a function that makes training steps and averages their metrics.

  Args:
    train_step: One replica's step, as in `Task`.
    names: Names of what it returns.
    strategy: The one to run it with.

  Returns:
    A tf.function of an iterator over distributed batches and the number of
    steps, an integer scalar. All steps are made in the graph. It returns the
    means of the metrics, float32 scalars, and the number of steps before
    the first whose metrics were not finite, int32.
  """

  @tf.function
  def run_steps(batches, count):
    sums = {name: tf.zeros([]) for name in names}
    # How many steps were finite. The count stays on the device, so that a GPU
    # gets the next step while this one runs.
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
