"""What a run measured: metrics.jsonl for programs, events for TensorBoard."""

import json
from collections.abc import Mapping, Sequence

import tensorflow as tf

from trainers import workdir as workdir_lib
from trainers.errors import writing


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
        workdir_lib.write_whole(self._path, "".join(map(_line, kept)))

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
  """Returns the writer of this process; arguments as for MetricsWriter."""
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
    name: Of a figure, such as "eval/accuracy".
  """
  pairs = [(line["epoch"], line[name]) for line in lines if name in line]
  return [epoch for epoch, _ in pairs], [value for _, value in pairs]


def _line(values):
  return json.dumps(values) + "\n"
