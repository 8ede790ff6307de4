"""Figures of the metrics of several runs."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from experiments import style
from experiments.score import Score
from trainers import metrics


def draw_curves(
  lines: Mapping[str, Sequence[Sequence[Mapping]]], score: Score
) -> Figure:
  """Returns a figure of training loss and the validation's score over epochs.

  A line is the mean over the seeds, its band reaches from the least to the
  greatest.

  Args:
    lines: For each name, for each of its runs, the lines of metrics.jsonl.
    score: To be drawn.
  """
  figure, [[left, right]] = style.panels(columns=2, height=4.2)
  colors = style.colors(lines)
  shown = []
  for name, runs in lines.items():
    shown += [score.values(run) for run in runs]
    for axis, column, factor in (
      (left, "train/loss", 1.0),
      (right, score.column, score.factor),
    ):
      epochs, values = _at_epochs_of_first(runs, column)
      style.draw_band(
        axis, epochs, factor * values, label=name, color=colors[name]
      )
  left.set(xlabel="epoch", ylabel="training loss")
  right.set(xlabel="epoch", ylabel=score.label)
  # From where the differences are, not from the first epochs.
  late = [value for values in shown for value in values[len(values) // 3 :]]
  every = [value for values in shown for value in values]
  floor = min(late if score.best is max else every)
  top = max(every if score.best is max else late)
  right.set_ylim(
    bottom=max(0.0, floor - 2.0), top=min(score.greatest + 0.2, top + 2.0)
  )
  style.add_legend(figure, columns=2)
  return figure


def _at_epochs_of_first(runs, column):
  """Returns the epochs of the first run, and all runs' values there.

  The seed of a language model decides how many steps an epoch has. So runs may
  have their metrics at different epochs: values between two of them are
  interpolated.

  Returns:
    Arrays of the shapes (epochs,) and (epochs, runs).
  """
  columns = [metrics.column(run, column) for run in runs]
  epochs = np.array(columns[0][0])
  return epochs, np.stack([np.interp(epochs, *one) for one in columns], axis=1)


def draw_learning_rates(
  finals: Mapping[str, Mapping[float, Sequence[float]]],
  score: Score,
) -> Figure:
  """Returns a figure of the validation's final score over the learning rate.

  Args:
    finals: For each name, for each learning rate, its runs' scores.
    score: What they are.
  """
  figure, [[axis]] = style.panels(width=6.4, height=4.4)
  colors = style.colors(finals)
  for name, by_rate in finals.items():
    rates = sorted(by_rate)
    values = [[score.factor * v for v in by_rate[rate]] for rate in rates]
    style.draw_band(
      axis, rates, values, label=name, color=colors[name], marker="o"
    )
  axis.set(xscale="log", xlabel="learning rate", ylabel=f"final {score.label}")
  style.add_legend(figure, columns=2)
  return figure
