"""Training steps of ours and of PyTorch in turn: their speeds, compared.

A record, for results.json, is that of one model: its name as `model`, the size
of a batch in words as `batch`, how many images or tokens that is as `per_step`,
and `seconds_per_step` and `disturbed_rounds` as `interleaved.measure` has them.
"""

import contextlib
import functools
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import matplotlib
import ml_collections
import tensorflow as tf
import tqdm
from absl import flags

from benchmarks import interleaved, peers, results
from configs import lookahead

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

_PEERS_PYTHON = flags.DEFINE_string(
  "peers_python", None, "Interpreter with PyTorch; without it ours alone."
)
_STEPS = flags.DEFINE_integer(
  "steps", 5, "Steps in a round: with Lookahead, a period.", lower_bound=1
)
_PATIENCE = flags.DEFINE_float(
  "patience", 300.0, "Seconds that each model may wait for a quiet machine."
)
_VARIANTS = flags.DEFINE_multi_enum(
  "variants", list(VARIANTS), list(VARIANTS), "Of ours."
)

TrainStep = Callable[[Any], Mapping[str, tf.Tensor]]


def measure(
  title: str,
  config: ml_collections.ConfigDict,
  make_train_step: Callable[
    [ml_collections.ConfigDict, tf.distribute.Strategy], TrainStep
  ],
  batch: Any,
  peer: str,
  peer_arguments: Mapping[str, Any],
  *,
  rounds: int,
  versions: dict[str, str],
) -> dict[str, Any]:
  """Returns a record's `seconds_per_step` and `disturbed_rounds`.

  Ends the program with a sentence if PyTorch cannot be measured.

  Args:
    title: Of the progress bars.
    config: An experiment without Lookahead.
    make_train_step: A function of such a config, or one with Lookahead, and of
      a strategy; returns one replica's step, which returns its figures.
    batch: What the step takes, each time the same.
    peer: The name of PyTorch's step, as `peers.Peer` has it.
    peer_arguments: Its arguments but for the number of threads.
    rounds: Of each variant.
    versions: Gets those of the peer.
  """
  units = {}
  with contextlib.ExitStack() as stack:
    if _PEERS_PYTHON.value:
      try:
        torch = stack.enter_context(
          peers.Peer(
            _PEERS_PYTHON.value,
            peer,
            warmup_steps=_STEPS.value,
            threads=_threads(),
            **peer_arguments,
          )
        )
      except peers.NotMeasured as error:
        sys.exit(f"Error: {PYTORCH} cannot be measured: {error}")
      versions |= torch.versions
      units[PYTORCH] = functools.partial(torch.run, "bare")
    for variant in tqdm.tqdm(_VARIANTS.value, f"{title}: compile"):
      label, *options = VARIANTS[variant]
      units[label] = _make_unit(config, make_train_step, batch, *options)
    timed = {
      label: functools.partial(unit, _STEPS.value)
      for label, unit in units.items()
    }
    measurement = interleaved.measure(
      {title: timed}, rounds, title, _PATIENCE.value
    )
  return {
    "seconds_per_step": measurement.seconds[title],
    "disturbed_rounds": measurement.disturbed,
  }


def _make_unit(config, make_train_step, batch, uses_xla, has_lookahead):
  """Returns a function of a number of steps: the mean seconds of one."""
  config = ml_collections.ConfigDict(config)
  config.jit_compile = uses_xla
  if has_lookahead:
    lookahead.add_to(config, sync_period=5, slow_step_size=0.5)
  keras.utils.set_random_seed(0)
  train_step = make_train_step(config, tf.distribute.OneDeviceStrategy("CPU:0"))

  def unit(steps):
    started = time.perf_counter()
    for _ in range(steps):
      figures = train_step(batch)
    float(figures["loss"])  # Waits for the last step.
    return (time.perf_counter() - started) / steps

  unit(_STEPS.value)  # Compiles, and touches all memory.
  return unit


def _threads():
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
  rounds: int,
) -> str:
  """Returns Markdown: the records' speeds, and their ratios to PyTorch's.

  Args:
    records: See above.
    unit: What speeds are of: "images" or "target tokens".
    goal: The least ratio that is aimed at.
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
    f"{results.make_table(rows)}\nMedians, on {_threads()} cores together; "
    f"ratio of the {unit} per second to {PYTORCH}'s, round by round; goal: "
    f"{goal} at least. {rounds} rounds of {_STEPS.value} steps each. "
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
