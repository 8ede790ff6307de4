"""Draws the accuracy after each inner step, as figure 10 of the paper.

python -m experiments.inside_a_period --workdir=runs/inside_a_period

A small convolutional network is trained on digits. Held-out digits are
evaluated with the fast weights after each of their updates, and with the slow
weights after each synchronization: several periods are drawn one after another,
and the mean of many periods, with several seeds.
"""

from typing import NamedTuple

import numpy as np
from absl import flags

from experiments import results, small_network, style

_DRAWN = 8  # Periods one after another.


class Curves(NamedTuple):
  """Evaluations of periods that follow one another.

  Attributes:
    fast: Of theta_0 to theta_k, of shape (periods, k + 1).
    slow: After each synchronization, of shape (periods,).
  """

  fast: np.ndarray
  slow: np.ndarray


def define_flags(values: flags.FlagValues) -> None:
  """Defines the flags of this program."""
  small_network.define_flags(values, sync_period=5)
  for name, default, text in (
    ("periods_before", 30, "How many periods to train before the first."),
    ("periods", 60, "How many periods to evaluate with each seed."),
    ("seeds", 3, "How many seeds, from --seed on."),
  ):
    flags.DEFINE_integer(
      name,
      default,
      text,
      lower_bound=0 if name == "periods_before" else 1,
      flag_values=values,
    )


def main(values: flags.FlagValues) -> None:
  """Trains as the flags say, and draws what is inside of the periods."""
  with results.writing(values.workdir, "inside_a_period") as written:
    runs = [
      _evaluate(values, seed)
      for seed in range(values.seed, values.seed + values.seeds)
    ]
    accuracies, losses = zip(*runs)
    written.save(_draw(accuracies, values), "accuracy")
    written.write(*_report(accuracies, losses, values))


def _evaluate(values, seed):
  """Returns the Curves of the accuracy and those of the loss."""
  training = small_network.from_flags(values, seed)
  training.steps(values.periods_before * values.sync_period)
  fast, slow = [], []
  for _ in range(values.periods):
    period = training.period()
    fast.append([training.evaluate(weights) for weights in period.fast])
    slow.append(training.evaluate(period.slow))
  fast, slow = np.array(fast), np.array(slow)
  return [
    Curves(fast[..., i], slow[..., i])
    for i in (
      small_network.Evaluation._fields.index(field)
      for field in ("accuracy", "loss")
    )
  ]


def changes(runs: list[Curves]) -> np.ndarray:
  """Returns what each weight of a period has beyond the slow weights before.

  Args:
    runs: Of the seeds.

  Returns:
    For each period of all runs the difference of the fast weights theta_0 to
    theta_k from theta_0, and of the slow weights after the synchronization from
    theta_0, of shape (periods of all runs, k + 2).
  """
  return np.concatenate(
    [np.column_stack([run.fast, run.slow]) - run.fast[:, :1] for run in runs]
  )


def _draw(runs, values):
  """Returns the figure: some periods of the first run, and the mean of all."""
  figure, axes = style.panels(1, 2, 5.6, 4.2)
  _draw_periods(axes[0, 0], runs[0], values)
  _draw_means(axes[0, 1], changes(runs))
  style.add_legend(figure)
  return figure


def _draw_periods(axis, run, values):
  k = values.sync_period
  first = values.periods_before * k
  count = min(_DRAWN, len(run.slow))
  for i in range(count):
    start = first + i * k
    axis.plot(
      np.arange(start, start + k + 1),
      run.fast[i],
      "-o",
      color=style.BLUE,
      markersize=4,
      label="fast weights",
    )
    axis.axvline(start + k, color=style.GRAY, linewidth=0.8, linestyle=":")
  axis.plot(
    first + k * np.arange(count + 1),
    [run.fast[0, 0], *run.slow[:count]],
    "--s",
    color=style.VERMILION,
    markersize=7,
    label="slow weights, after a synchronization",
    zorder=3,
  )
  axis.set(
    xlabel="updates of the fast weights",
    ylabel="held-out accuracy, %",
    title=f"{count} periods",
  )


def _draw_means(axis, table):
  means = table.mean(axis=0)
  errors = standard_errors(table)
  steps = np.arange(len(means) - 1)
  axis.errorbar(
    steps, means[:-1], errors[:-1], fmt="-o", color=style.BLUE, capsize=3
  )
  axis.errorbar(
    [steps[-1]],
    means[-1:],
    errors[-1:],
    fmt="s",
    color=style.VERMILION,
    capsize=3,
    markersize=8,
  )
  axis.axhline(0, color=style.GRAY, linewidth=1)
  axis.set(
    xlabel="updates since the last synchronization",
    ylabel="accuracy beyond that of the\nslow weights before, points",
    title=f"mean of {len(table)} periods",
    xticks=steps,
  )


def standard_errors(table: np.ndarray) -> np.ndarray:
  """Returns the standard error of the mean of each column; 0 of one row."""
  if len(table) == 1:
    return np.zeros(table.shape[1])
  return table.std(axis=0, ddof=1) / len(table) ** 0.5


def _report(accuracies, losses, values):
  """Returns the paragraphs of results.md."""
  k = values.sync_period
  accuracy, loss = changes(accuracies), changes(losses)
  rows = [
    {
      "weights": name,
      "accuracy beyond theta_0": _with_error(accuracy[:, i], "{:+.2f}"),
      "loss beyond theta_0": _with_error(loss[:, i], "{:+.4f}"),
      "periods with a greater loss": f"{np.mean(loss[:, i] > 0):.0%}",
    }
    for i, name in [
      *((i, f"theta_{i}") for i in range(1, k + 1)),
      (k + 1, "phi after"),
    ]
  ]
  is_better = np.mean(loss[:, -1] < loss[:, -2])
  first = values.periods_before * k
  return (
    "# Inside a period of Lookahead",
    f"{small_network.DESCRIPTION} SGD with momentum {values.momentum:g} at the "
    f"learning rate {values.learning_rate:g} within Lookahead, k = {k} and "
    f"alpha = {values.slow_step_size:g}, {values.seeds} seeds from "
    f"{values.seed} on: each time the {values.periods} periods of the updates "
    f"{first + 1} to {first + values.periods * k}.",
    "What the weights of a period have beyond theta_0, the slow weights before "
    "it; ± is the standard error of the mean over the periods, as if each were "
    "independent of the one before.",
    results.make_table(rows),
    f"The slow weights after the synchronization had a smaller loss than the "
    f"last fast weights in {is_better:.0%} of the {len(loss)} periods.",
  )


def _with_error(values, text):
  error = standard_errors(values[:, np.newaxis])[0]
  return text.format(values.mean()) + " ± " + text.format(error).lstrip("+")


if __name__ == "__main__":
  results.run(main, define_flags)
