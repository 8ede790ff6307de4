"""Figures of the metrics of several runs."""

import statistics
from collections.abc import Mapping, Sequence

import matplotlib

from trainers import metrics

matplotlib.use("Agg")  # There may be no screen.
from matplotlib import pyplot as plt


def draw_curves(
  lines: Mapping[str, Sequence[Sequence[Mapping]]], path: str
) -> None:
  """Draws training loss and validation accuracy over epochs.

  A line is the mean over the seeds, its band reaches from the least to the
  greatest.

  Args:
    lines: For each name, for each of its runs, the lines of metrics.jsonl.
    path: Of the PNG file.
  """
  figure, (left, right) = plt.subplots(
    1, 2, figsize=(10, 4.4), dpi=120, layout="constrained"
  )
  for name, runs in lines.items():
    for axis, column in ((left, "train/loss"), (right, "eval/accuracy")):
      epochs = metrics.column(runs[0], column)[0]
      values = zip(*(metrics.column(run, column)[1] for run in runs))
      _draw_band(axis, epochs, list(values), label=name)
  left.set(xlabel="epoch", ylabel="training loss")
  right.set(xlabel="epoch", ylabel="validation accuracy")
  # From where the differences are, not from the first epochs.
  last = [
    metrics.column(run, "eval/accuracy")[1] for r in lines.values() for run in r
  ]
  floor = min(min(values[len(values) // 3 :]) for values in last)
  top = max(max(values) for values in last)
  right.set_ylim(bottom=max(0.0, floor - 0.02), top=min(1.002, top + 0.02))
  _finish(figure, path)


def draw_learning_rates(
  finals: Mapping[str, Mapping[float, Sequence[float]]], path: str
) -> None:
  """Draws the final validation accuracy over the learning rate.

  Args:
    finals: For each name, for each learning rate, its runs' accuracies.
    path: Of the PNG file.
  """
  figure, axis = plt.subplots(figsize=(7, 4.6), dpi=120, layout="constrained")
  for name, by_rate in finals.items():
    rates = sorted(by_rate)
    values = [by_rate[rate] for rate in rates]
    _draw_band(axis, rates, values, label=name, marker="o")
  axis.set(
    xscale="log", xlabel="learning rate", ylabel="final validation accuracy"
  )
  _finish(figure, path)


def _draw_band(axis, x, values, **style):
  """Draws the means as a line, and a band from the least to the greatest."""
  means = [statistics.mean(v) for v in values]
  (line,) = axis.plot(x, means, linewidth=1.8, **style)
  axis.fill_between(
    x,
    [min(v) for v in values],
    [max(v) for v in values],
    color=line.get_color(),
    alpha=0.2,
    linewidth=0,
  )


def _finish(figure, path):
  for axis in figure.axes:
    axis.grid(alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
  # Below, where it covers nothing: all axes show the same names.
  figure.legend(
    *figure.axes[0].get_legend_handles_labels(),
    loc="outside lower center",
    ncols=2,
  )
  figure.savefig(path)
  plt.close(figure)
