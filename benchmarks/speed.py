"""Speeds of ours and of another library's, measured in turn and compared.

A record, for results.json, is that of one model: its name as `model`, the size
of a batch in words as `batch`, how many images, tokens or sentences that is as
`per_step`, and `seconds_per_step` and `disturbed_rounds` as
`interleaved.measure` has them.
"""

import contextlib
import functools
import os
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib
import tqdm
from absl import flags

from benchmarks import interleaved, peers, results

matplotlib.use("Agg")  # There may be no screen.
from matplotlib import pyplot as plt

_PEERS_PYTHON = flags.DEFINE_string(
  "peers_python",
  None,
  "Interpreter with the other library; without it ours alone.",
)
_STEPS = flags.DEFINE_integer(
  "steps", 5, "Steps in a round: with Lookahead, a period.", lower_bound=1
)
_PATIENCE = flags.DEFINE_float(
  "patience", 300.0, "Seconds that each model may wait for a quiet machine."
)

# Makes so many steps, and returns the mean seconds of one.
Runner = Callable[[int], float]


def measure(
  title: str,
  makers: Mapping[str, Callable[[], Runner]],
  peer: tuple[str, str, Mapping[str, Any]],
  *,
  rounds: int,
  versions: dict[str, str],
) -> dict[str, Any]:
  """Returns a record's `seconds_per_step` and `disturbed_rounds`.

  Ends the program with a sentence if the peer cannot be measured.

  Args:
    title: Of the progress bars.
    makers: Functions that make ours, by what tables call them. Their first
      steps, which compile, are not timed.
    peer: What tables call the other one, its name as `peers.Peer` has it, and
      its arguments but for the number of threads.
    rounds: Of each.
    versions: Gets those of the peer.
  """
  runners = {}
  with contextlib.ExitStack() as stack:
    if _PEERS_PYTHON.value:
      label, name, arguments = peer
      try:
        process = stack.enter_context(
          peers.Peer(
            _PEERS_PYTHON.value,
            name,
            warmup_steps=_STEPS.value,
            threads=results.cores(),
            **arguments,
          )
        )
      except peers.NotMeasured as error:
        sys.exit(f"Error: {label} cannot be measured: {error}")
      versions |= process.versions
      runners[label] = functools.partial(process.run, "bare")
    for label, make in tqdm.tqdm(makers.items(), f"{title}: compile"):
      runners[label] = make()
      runners[label](_STEPS.value)
    timed = {
      label: functools.partial(runner, _STEPS.value)
      for label, runner in runners.items()
    }
    measurement = interleaved.measure(
      {title: timed}, rounds, title, _PATIENCE.value
    )
  return {
    "seconds_per_step": measurement.seconds[title],
    "disturbed_rounds": measurement.disturbed,
  }


def write(
  directory: str,
  run: Mapping[str, Any],
  records: Sequence[Mapping[str, Any]],
  unit: str,
  peer: str,
  *,
  goal: float,
  rounds: int,
) -> str:
  """Writes table.md, results.json and speed.png; returns what table.md holds.

  Args:
    directory: Created if needed.
    run: What `results.describe_run` returned.
    records: See above.
    unit: What speeds are of, such as "images".
    peer: What tables call it.
    goal: The least ratio that is aimed at.
    rounds: Of each.
  """
  table = _make_table(records, unit, peer, goal, rounds)
  text = results.write(directory, run, table, {"time": records})
  _draw(records, unit, peer, os.path.join(directory, "speed.png"))
  return text


def _make_table(records, unit, peer, goal, rounds):
  """Returns Markdown: the records' speeds, and their ratios to the peer's."""
  rows = [("model", "batch", "step", f"{unit}/s", *interleaved.RATIO_COLUMNS)]
  for record in records:
    speeds = _speeds(record)
    for label, values in speeds.items():
      ratio = ("", "", "")
      if peer in speeds and label != peer:
        ratio = interleaved.compare(values, speeds[peer]).cells()
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
    f"{results.make_table(rows)}\n"
    f"Medians, on {results.cores()} cores together; ratio of the {unit} per "
    f"second to those of {peer}, round by round; goal: {goal} at least. "
    f"{rounds} rounds of {_STEPS.value} steps each. "
    f"{interleaved.describe_disturbance(records, rounds)}\n"
  )


def _draw(records, unit, peer, path):
  """Draws the records' speeds side by side into a PNG."""
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
      color = "C7" if label == peer else "C0"
      axis.barh(label, statistics.median(values), color=color, alpha=0.6)
      axis.plot(values, [label] * len(values), "o", color=color, markersize=3)
    axis.invert_yaxis()
    axis.set_title(f"{record['model']}, batch {record['batch']}", fontsize=10)
    axis.set_xlabel(f"{unit} per second (dots: rounds)")
    axis.spines[["top", "right"]].set_visible(False)
  figure.savefig(path)
  plt.close(figure)


def _speeds(record):
  """Returns the images, tokens or sentences per second of each round."""
  return {
    label: [record["per_step"] / value for value in seconds]
    for label, seconds in record["seconds_per_step"].items()
  }
