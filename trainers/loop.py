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

from lookahead_tf import Lookahead
from trainers import (
  agreement,
  devices,
  divergence,
  errors,
  local_steps,
  metrics,
  signals,
  summary,
)
from trainers.checkpoints import Checkpoints
from trainers.devices import Runtime
from trainers.input import Input
from trainers.plan import Plan


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
    counts: Names of the `metrics` that count something in a step, such as
      tokens. They are written per second too.
    guessing_loss: Loss of a model that guesses, positive, such as log(classes);
      None if unknown. Training stops at a mean loss above 10,000 times this
      loss.
    title: What is trained, for people.
    facts: Lines on the data, the model and the optimizer, told at the start.
    notes: What a user should know of the data, such as files that are left out.
    unit: What `Plan.global_batch_size` counts, such as "image".
    jit_compile: Whether XLA compiles the step, for people.
    best_is_least: Whether the least value of the metric `best` marks the best
      checkpoint.
    state: Further state that checkpoints hold, or None.
    make_ready: Called in each process before weights are evaluated or saved.
    on_evaluation: Called with the metrics of each evaluation, before a
      checkpoint of that step is saved: so it may change `state`.
    finish: Called in each process after the last step, with the checkpoints of
      the run, when the last one is there for all processes.
  """

  model: keras.Model
  optimizer: keras.optimizers.Optimizer
  input: Input
  train_step: Callable[[Any], Mapping[str, tf.Tensor]]
  metrics: tuple[str, ...]
  evaluate: Callable[[], Mapping[str, float]]
  best: str
  counts: tuple[str, ...] = ()
  guessing_loss: float | None = None
  title: str = "Training"
  facts: Sequence[summary.Line] = ()
  notes: Sequence[summary.Line] = ()
  unit: str = "example"
  jit_compile: bool = False
  best_is_least: bool = False
  state: tf.Module | None = None
  make_ready: Callable[[], None] = lambda: None
  on_evaluation: Callable[[Mapping[str, float]], None] = lambda metrics: None
  finish: Callable[[Checkpoints], None] = lambda checkpoints: None


def train(task: Task, plan: Plan, runtime: Runtime) -> None:
  """Trains to the end of `plan`, from the last checkpoint in workdir if any.

  Args:
    task: What to train, and on what.
    plan: For how long, and when to do what.
    runtime: Where and how.

  Raises:
    Diverged: if the training diverges.
    UserError: if a file cannot be written, or if the input cannot be read.
    Interrupted: after a SIGTERM, when all is saved.
    KeyboardInterrupt: after a Ctrl-C, likewise.
  """
  strategy = runtime.strategy
  # To go on from a checkpoint, four things come back. First weights, optimizer
  # and seeds:
  checkpoints = _checkpoints(task, plan, runtime)
  step = checkpoints.restore()
  gather = agreement.make_gather(strategy)
  agreement.check_same_step(gather, step)
  # Second, seeds that differ by replica:
  agreement.give_replicas_own_seeds(task.model, strategy)
  # Third, the metrics up to that step; fourth, the input from that step on.
  writer = metrics.open_writer(runtime.workdir, step, runtime.is_chief)
  batches = iter(task.input.batches(step))
  guard = divergence.Guard(
    task.model, task.optimizer, checkpoints, task.guessing_loss
  )
  run_steps = make_loop(
    task.train_step, task.metrics, strategy, guard.loss_limit
  )
  host = _Host(task, plan, runtime, checkpoints, writer, guard, step, gather)
  if runtime.is_chief:
    _tell_start(task, plan, runtime, step)
  with contextlib.ExitStack() as stack:
    stack.callback(writer.close)
    stack.enter_context(errors.interrupted_by_lost_hosts(strategy))
    progress = stack.enter_context(_progress(task, plan, runtime, step))
    watch = stack.enter_context(signals.Watch(progress.tell))
    profiler = stack.enter_context(_profiler(plan, runtime))
    while step < plan.total_steps:
      profiler.before(step + 1)
      count = plan.next_stop(step) - step
      started = time.perf_counter()
      with errors.explaining_input(
        functools.partial(task.input.find_unreadable, step, count)
      ):
        means, sane = run_steps(batches, tf.constant(count))
      values = {f"train/{name}": float(v) for name, v in means.items()}
      seconds = time.perf_counter() - started
      guard.check_means(values, step, count, int(sane))
      step += count
      profiler.after(step)
      progress.training(step, values)
      values |= _speeds(task, plan, values, count / seconds)
      if evaluated := host.finish(step, count, values):
        progress.validation(step, evaluated)
        runtime.on_evaluation(step / plan.steps_per_epoch, evaluated)
      # All processes stop for the same signal, if any of them has received one.
      if number := max(gather(watch.number)):
        host.stop(step, number)
  with errors.interrupted_by_lost_hosts(strategy):
    gather(0)  # For the last checkpoint to be there.
    # Anew: the others do not know what the chief has written since the start.
    task.finish(_checkpoints(task, plan, runtime))


def _checkpoints(task, plan, runtime):
  return Checkpoints(
    runtime.workdir,
    task.model,
    task.optimizer,
    plan.keep_checkpoints,
    plan.is_checkpoint_due,
    task.state,
    runtime.strategy,
  )


class _Host:
  """What is done between calls of the compiled loop."""

  def __init__(
    self, task, plan, runtime, checkpoints, writer, guard, step, gather
  ):
    self._task, self._plan, self._guard = task, plan, guard
    self._gather = gather
    self._local_steps = local_steps.LocalStepMetrics(task.optimizer)
    self._is_chief = runtime.is_chief
    self._checkpoints, self._writer = checkpoints, writer
    self._average_statistics = agreement.make_average_statistics(
      task.model, runtime.strategy
    )
    self._ready_step = step  # The last step after which weights were checked.

  def finish(self, step, count, values):
    """Evaluates, writes and saves what is due; returns what was evaluated.

    Args:
      step: The last step.
      count: How many steps there were since the call before.
      values: Metrics of these steps; further metrics are added to them.
    """
    plan = self._plan
    evaluates = plan.is_evaluation_due(step)
    saves = plan.is_checkpoint_due(step)
    if evaluates or saves:
      self._make_ready(step)
    values["train/learning_rate"] = self._learning_rate()
    values |= self._local_steps.metrics(count)
    evaluated = {}
    if evaluates:
      evaluated = dict(self._task.evaluate())
      values |= {f"eval/{name}": v for name, v in evaluated.items()}
      self._task.on_evaluation(evaluated)
    self._writer.write(step, step / plan.steps_per_epoch, values)
    # Only one process writes; all of them read.
    if evaluates and self._is_chief:
      result = evaluated[self._task.best]
      self._checkpoints.save_if_best(
        step, -result if self._task.best_is_least else result
      )
    if saves:
      self._save(step)
    return evaluated

  def _save(self, step):
    """Saves a checkpoint, with files of the replicas where they have any."""
    if self._local_steps.is_active:
      self._checkpoints.save_replicas(step)
      # Files of replicas come first: the checkpoint counts when it is there.
      self._gather(0)
    if self._is_chief:
      self._checkpoints.save(step)

  def stop(self, step, number):
    """Saves what is not saved yet, and raises what ends the program.

    Args:
      step: The last step.
      number: Number of the signal to stop for.
    """
    if not self._plan.is_checkpoint_due(step):
      if self._ready_step < step:
        self._make_ready(step)
      self._save(step)
    raise errors.stopped_by(
      number,
      f"Stopped by {signals.NAMES[number]} after step {step:,} of "
      f"{self._plan.total_steps:,}, with a checkpoint: run the same command "
      "again to go on.",
    )

  def _make_ready(self, step):
    """Makes the weights after `step` ready to be evaluated or saved."""
    self._guard.check_weights(self._ready_step + 1, step)
    self._average_statistics()
    self._task.make_ready()
    self._ready_step = step

  def _learning_rate(self):
    return float(keras.ops.convert_to_numpy(self._task.optimizer.learning_rate))


def make_loop(
  train_step: Callable[[Any], Mapping[str, tf.Tensor]],
  names: Sequence[str],
  strategy: tf.distribute.Strategy,
  limit: float = math.inf,
) -> Callable[[Any, tf.Tensor], tuple[Mapping[str, tf.Tensor], tf.Tensor]]:
  """Returns a function that makes training steps and averages their metrics.

  Args:
    train_step: One replica's step, as in `Task`.
    names: Names of the metrics that it returns.
    strategy: The strategy to run the step with.
    limit: The greatest value of the metric "loss" that makes sense.

  Returns:
    A tf.function of an iterator over distributed batches and the number of
    steps, an integer scalar. All steps are made in the graph. It returns the
    means of the metrics, float32 scalars, and the number of steps before
    the first whose metrics were not finite, or whose loss was beyond the
    limit, int32. Processes exchange their sums once, after the last step, so
    that no step waits for a slow network.
  """
  share = len(strategy.extended.worker_devices) / strategy.num_replicas_in_sync

  @tf.function
  def run_steps(batches, count):
    sums = {name: tf.zeros([]) for name in names}
    # How many steps made sense. The count stays on the device, so that a GPU
    # gets the next step while this one runs.
    sane, is_sane = tf.constant(0), tf.constant(True)
    for _ in tf.range(count):
      parts = strategy.run(train_step, args=(next(batches),))
      step = {
        name: tf.add_n(strategy.experimental_local_results(parts[name]))
        for name in names
      }
      sums = {name: value + step[name] for name, value in sums.items()}
      # A sum that is not finite stays so.
      is_sane &= tf.reduce_all(tf.math.is_finite(list(sums.values())))
      if limit < math.inf:
        is_sane &= step["loss"] <= limit * share
      sane += tf.cast(is_sane, tf.int32)
    found = agreement.gather_processes(
      tf.stack([*sums.values(), tf.cast(sane, tf.float32)]), strategy
    )
    *totals, _ = tf.unstack(tf.reduce_sum(found, axis=0), len(sums) + 1)
    means = {
      name: total / tf.cast(count, tf.float32)
      for name, total in zip(sums, totals)
    }
    return means, tf.cast(tf.reduce_min(found[:, -1]), tf.int32)

  return run_steps


def _speeds(task, plan, values, steps_per_second):
  """Returns what was trained on in a second."""
  speeds = {"examples": plan.global_batch_size}
  speeds |= {name: values[f"train/{name}"] for name in task.counts}
  return {
    f"{name}_per_second": per_step * steps_per_second
    for name, per_step in speeds.items()
  }


def _tell_start(task, plan, runtime, step):
  """Prints what is told before the first step."""
  compiles = "compiled by XLA" if task.jit_compile else "without XLA"
  batch = summary.counted(plan.global_batch_size, task.unit)
  lines = [
    *task.facts,
    *task.notes,
    ("device", devices.describe(runtime.strategy)),
    (
      "precision",
      f"{devices.describe_precision(runtime.strategy)}, {compiles}",
    ),
    *summary.length(plan.total_steps, plan.steps_per_epoch, batch, step),
    *_slow_weights(task.optimizer, plan),
    (
      "evaluation",
      f"every {summary.counted(plan.eval_every_steps, 'step')}, a checkpoint "
      f"every {plan.checkpoint_every_steps:,}",
    ),
    ("results in", runtime.workdir),
  ]
  print(summary.block(task.title, lines), flush=True)


def _slow_weights(optimizer, plan):
  """Returns lines on slow weights that a run is too short to move."""
  if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
    optimizer = optimizer.inner_optimizer
  if not isinstance(optimizer, Lookahead):
    return []
  inner = optimizer.inner_optimizer
  updates = plan.total_steps // (inner.gradient_accumulation_steps or 1)
  return summary.slow_weights(updates, optimizer.sync_period)


def _profiler(plan, runtime):
  steps = plan.profile_steps if runtime.is_chief else None
  return _Profiler(runtime.workdir, steps)


class _Profiler:
  """Writes a trace of some steps, for TensorBoard's Profile tab.

  Args:
    workdir: Directory of the run; TensorBoard reads its folder `events`.
    steps: (first, last), or None to write nothing.
  """

  def __init__(self, workdir: str, steps: tuple[int, int] | None):
    self._log_dir = tf.io.gfile.join(workdir, "events")
    self._steps = range(steps[0], steps[1] + 1) if steps else range(0)
    self._is_running = False

  def before(self, step: int) -> None:
    """Starts the trace if `step`, the next one, is in it.

    A run that goes on in the middle of these steps traces the rest of them.
    """
    if step in self._steps and not self._is_running:
      tf.profiler.experimental.start(self._log_dir)
      self._is_running = True

  def after(self, step: int) -> None:
    """Writes the trace if `step`, the one just made, is its last."""
    if self._is_running and step + 1 not in self._steps:
      tf.profiler.experimental.stop()
      self._is_running = False

  def __enter__(self) -> "_Profiler":
    return self

  def __exit__(self, *exception):
    if self._is_running:
      tf.profiler.experimental.stop()


def _progress(task, plan, runtime, step):
  return summary.Progress(
    plan.total_steps,
    step,
    [name for name in task.metrics if name not in task.counts],
    is_shown=runtime.is_chief,
  )
