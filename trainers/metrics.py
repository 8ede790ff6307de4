"""Metrics: means over a split, metrics.jsonl, and events for TensorBoard."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from trainers import files, tracing
from trainers.files import writing


def make_means(
  measure: Callable[[Any], tuple[tf.Tensor, tf.Tensor, tf.Tensor]],
  batches: Iterable[Any],
  strategy: tf.distribute.Strategy,
  jit_compile: bool,
) -> Callable[[], dict[str, float]]:
  """Returns a function that gives the mean loss and accuracy.

  Args:
    measure: A function of one replica's batch: returns losses, whether the
      answers are right (1 or 0), and weights, all float32 of one shape. Padding
      has weight 0.
    batches: Distributed batches, gone through at each call.
    strategy: The strategy to measure with.
    jit_compile: Whether XLA compiles one replica's part.
  """

  @tf.function(jit_compile=jit_compile, autograph=False)
  def sums_of(batch):
    losses, correct, weights = measure(batch)
    return tf.stack(
      [
        tf.reduce_sum(losses * weights),
        tf.reduce_sum(correct * weights),
        tf.reduce_sum(weights),
      ]
    )

  @tracing.concrete
  @tf.function(autograph=False)
  def sum_over_replicas(batch):
    parts = strategy.run(sums_of, args=(batch,))
    return strategy.reduce(tf.distribute.ReduceOp.SUM, parts, axis=None)

  def means():
    sums = sum(sum_over_replicas(batch) for batch in batches)
    loss, correct, count = sums.numpy().tolist()
    return {"loss": loss / count, "accuracy": correct / count}

  return means


def is_correct(logits: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
  """Returns 1 where the likeliest class is the target, else 0.

  Args:
    logits: Floats (..., classes).
    targets: int32 (...).

  Returns:
    float32 (...).
  """
  predictions = tf.argmax(logits, axis=-1, output_type=tf.int32)
  return tf.cast(predictions == targets, tf.float32)


class MetricsWriter:
  """Appends to `workdir`/metrics.jsonl, an object a line, and to event files.

  Args:
    workdir: Directory of the run.
    step: The step from which the run goes on. Lines of later steps, which an
      interrupted run wrote after its last checkpoint, are removed: these steps
      are made again.

  Raises:
    UserError: if they cannot be written.
  """

  def __init__(self, workdir: str, step: int = 0):
    self._path = tf.io.gfile.join(workdir, "metrics.jsonl")
    with writing(workdir):
      self._events = tf.summary.create_file_writer(
        tf.io.gfile.join(workdir, "events")
      )
      if tf.io.gfile.exists(self._path):
        kept = [line for line in read(workdir) if line["step"] <= step]
        files.write_whole(self._path, "".join(map(_line, kept)))

  def write(self, step: int, epoch: float, values: Mapping[str, float]) -> None:
    """Writes `values`, named like "train/loss" or "eval/accuracy".

    Raises:
      UserError: if there is no room for them.
    """
    line = _line({"step": step, "epoch": round(epoch, 4), **values})
    with writing(self._path):
      with tf.io.gfile.GFile(self._path, "a") as file:
        file.write(line)
      with self._events.as_default(step):
        for name, value in values.items():
          tf.summary.scalar(name, value)
      self._events.flush()

  def close(self) -> None:
    """Closes the event file."""
    self._events.close()


class NoWriter:
  """Writes nothing: one process of several writes for all of them."""

  def write(self, step: int, epoch: float, values: Mapping[str, float]) -> None:
    """Does nothing."""

  def close(self) -> None:
    """Does nothing."""


def open_writer(
  workdir: str, step: int, is_chief: bool
) -> MetricsWriter | NoWriter:
  """Returns the writer of this process: a NoWriter unless it is the chief."""
  return MetricsWriter(workdir, step) if is_chief else NoWriter()


def read(workdir: str) -> list[dict[str, float]]:
  """Returns the lines of metrics.jsonl; a torn last one is left out."""
  path = tf.io.gfile.join(workdir, "metrics.jsonl")
  with tf.io.gfile.GFile(path) as file:
    lines = file.read().split("\n")
  return [json.loads(line) for line in lines[:-1]]


def column(
  lines: Sequence[Mapping[str, float]], name: str
) -> tuple[list[float], list[float]]:
  """Returns the epochs of the lines that have `name`, and their values of it.

  Args:
    lines: As `read` returns them.
    name: Of a metric, such as "eval/accuracy".
  """
  pairs = [(line["epoch"], line[name]) for line in lines if name in line]
  return [epoch for epoch, _ in pairs], [value for _, value in pairs]


def _line(values):
  return json.dumps(values) + "\n"
