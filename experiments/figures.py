"""Figures of the metrics of several runs."""

import statistics
from collections.abc import Mapping, Sequence

import matplotlib

from experiments.score import Score
from trainers import metrics

matplotlib.use("Agg")  # There may be no screen.
from matplotlib import pyplot as plt


def draw_curves(
  lines: Mapping[str, Sequence[Sequence[Mapping]]], score: Score, path: str
) -> None:
  """Draws training loss and the validation's score over epochs.

  A line is the mean over the seeds, its band reaches from the least to the
  greatest.

  Args:
    lines: For each name, for each of its runs, the lines of metrics.jsonl.
    score: To be drawn.
    path: Of the PNG file.
  """
  figure, (left, right) = plt.subplots(
    1, 2, figsize=(10, 4.4), dpi=120, layout="constrained"
  )
  shown = []
  for name, runs in lines.items():
    losses = [metrics.column(run, "train/loss")[1] for run in runs]
    scores = [score.values(run) for run in runs]
    shown += scores
    for axis, column, values in (
      (left, "train/loss", losses),
      (right, score.column, scores),
    ):
      epochs = metrics.column(runs[0], column)[0]
      _draw_band(axis, epochs, list(zip(*values)), label=name)
  left.set(xlabel="epoch", ylabel="training loss")
  right.set(xlabel="epoch", ylabel=_label(score))
  # From where the differences are, not from the first epochs.
  late = [value for values in shown for value in values[len(values) // 3 :]]
  every = [value for values in shown for value in values]
  floor = min(late if score.best is max else every)
  top = max(every if score.best is max else late)
  right.set_ylim(
    bottom=max(0.0, floor - 2.0), top=min(score.greatest + 0.2, top + 2.0)
  )
  _finish(figure, path)


def draw_learning_rates(
  finals: Mapping[str, Mapping[float, Sequence[float]]],
  score: Score,
  path: str,
) -> None:
  """Draws the validation's final score over the learning rate.

  Args:
    finals: For each name, for each learning rate, its runs' scores.
    score: What they are.
    path: Of the PNG file.
  """
  figure, axis = plt.subplots(figsize=(7, 4.6), dpi=120, layout="constrained")
  for name, by_rate in finals.items():
    rates = sorted(by_rate)
    values = [[score.factor * v for v in by_rate[rate]] for rate in rates]
    _draw_band(axis, rates, values, label=name, marker="o")
  axis.set(
    xscale="log", xlabel="learning rate", ylabel=f"final {_label(score)}"
  )
  _finish(figure, path)


def _label(score):
  unit = f", {score.unit}" if score.unit else ""
  return f"validation {score.name}{unit}"


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
