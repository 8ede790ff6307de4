"""Training steps of ours and of PyTorch in turn: their speeds, compared.

A record, for results.json, is that of one model: its name as `model`, the size
of a batch in words as `batch`, how many images or tokens that is as `per_step`,
and `seconds_per_step` and `disturbed_rounds` as `interleaved.measure` has them.
"""

import functools
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib
import tensorflow as tf

from benchmarks import interleaved, results

matplotlib.use("Agg")  # There may be no screen.
from matplotlib import pyplot as plt

PYTORCH = "PyTorch"
# Of ours: what tables call it, whether by XLA, and whether with Lookahead.
VARIANTS = {
  "graph": ("ours, graph", False, False),
  "graph_lookahead": ("ours, graph, Lookahead", False, True),
  "xla": ("ours, XLA", True, False),
  "xla_lookahead": ("ours, XLA, Lookahead", True, True),
}

Unit = Callable[[int], float]


def make_unit(
  train_step: Callable[[Any], Mapping[str, tf.Tensor]],
  batch: Any,
  warmup_steps: int,
) -> Unit:
  """Returns a function of a number of steps: the mean seconds of one.

  Args:
    train_step: One replica's step, which returns its figures.
    batch: What it takes, each time the same.
    warmup_steps: Made at once, to compile and to touch all memory.
  """

  def unit(steps):
    started = time.perf_counter()
    for _ in range(steps):
      figures = train_step(batch)
    float(figures["loss"])  # Waits for the last step.
    return (time.perf_counter() - started) / steps

  unit(warmup_steps)
  return unit


def measure(
  title: str,
  units: Mapping[str, Unit],
  *,
  steps: int,
  rounds: int,
  patience: float,
) -> dict[str, Any]:
  """Returns a record's `seconds_per_step` and `disturbed_rounds`.

  Args:
    title: Of the progress bar.
    units: Of PyTorch and ours, by name.
    steps: In each round.
    rounds: Of each unit.
    patience: As in `interleaved.measure`.
  """
  timed = {
    label: functools.partial(unit, steps) for label, unit in units.items()
  }
  measurement = interleaved.measure({title: timed}, rounds, title, patience)
  return {
    "seconds_per_step": measurement.seconds[title],
    "disturbed_rounds": measurement.disturbed,
  }


def threads() -> int:
  """Returns how many cores there are for this process."""
  return len(os.sched_getaffinity(0))


def _speeds(record):
  """Returns the images or tokens per second of each round, by variant."""
  return {
    label: [record["per_step"] / value for value in seconds]
    for label, seconds in record["seconds_per_step"].items()
  }


def make_table(
  records: Sequence[Mapping[str, Any]],
  unit: str,
  *,
  goal: float,
  steps: int,
  rounds: int,
) -> str:
  """Returns Markdown: the records' speeds, and their ratios to PyTorch's.

  Args:
    records: See above.
    unit: What speeds are of: "images" or "target tokens".
    goal: The least ratio that is aimed at.
    steps: In each round.
    rounds: Of each variant.
  """
  rows = [("model", "batch", "step", f"{unit}/s", *interleaved.RATIO_COLUMNS)]
  for record in records:
    speeds = _speeds(record)
    for label, values in speeds.items():
      ratio = ("", "", "")
      if PYTORCH in speeds and label != PYTORCH:
        ratio = interleaved.compare(values, speeds[PYTORCH]).cells()
      rows.append(
        (
          record["model"],
          record["batch"],
          label,
          f"{statistics.median(values):,.1f}",
          *ratio,
        )
      )
  return (
    f"{results.make_table(rows)}\nMedians, on {threads()} cores together; "
    f"ratio of the {unit} per second to {PYTORCH}'s, round by round; goal: "
    f"{goal} at least. {rounds} rounds of {steps} steps each. "
    f"{interleaved.describe_disturbance(records, rounds)}\n"
  )


def draw(records: Sequence[Mapping[str, Any]], unit: str, path: str) -> None:
  """Draws the records' speeds side by side into a PNG; arguments as above."""
  figure, axes = plt.subplots(
    1,
    len(records),
    figsize=(max(4.2 * len(records), 5.5), 2.6),
    dpi=120,
    squeeze=False,
    layout="constrained",
  )
  for axis, record in zip(axes.flat, records):
    for label, values in _speeds(record).items():
      color = "C7" if label == PYTORCH else "C0"
      axis.barh(label, statistics.median(values), color=color, alpha=0.6)
      axis.plot(values, [label] * len(values), "o", color=color, markersize=3)
    axis.invert_yaxis()
    axis.set_title(f"{record['model']}, batch {record['batch']}", fontsize=10)
    axis.set_xlabel(f"{unit} per second (dots: rounds)")
    axis.spines[["top", "right"]].set_visible(False)
  figure.savefig(path)
  plt.close(figure)
