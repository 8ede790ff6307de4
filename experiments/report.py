"""A table and a figure of the metrics of several runs."""

import os
import statistics
from collections.abc import Mapping, Sequence

import matplotlib

from trainers import metrics
from trainers import workdir as workdir_lib

matplotlib.use("Agg")  # There may be no screen.
from matplotlib import pyplot as plt


def write(runs: Mapping[str, Sequence[str]], directory: str) -> None:
  """Prints a table, writes it and a figure to `directory`, and names both.

  Args:
    runs: For each name the work directories of its runs, one for each seed.
    directory: Gets results.md and curves.png.
  """
  lines = {
    name: [metrics.read(workdir) for workdir in workdirs]
    for name, workdirs in runs.items()
  }
  table = make_table(lines)
  table_path = os.path.join(directory, "results.md")
  workdir_lib.write_whole(table_path, table)
  figure_path = os.path.join(directory, "curves.png")
  draw_curves(lines, figure_path)
  print(f"\n{table}\nTable:  {table_path}\nFigure: {figure_path}")


def make_table(lines: Mapping[str, Sequence[Sequence[Mapping]]]) -> str:
  """Returns a Markdown table of final and best accuracy, mean and deviation.

  Args:
    lines: For each name, for each of its runs, the lines of metrics.jsonl.
  """
  rows = [("run", "seeds", "final accuracy", "best accuracy", "final loss")]
  for name, runs in lines.items():
    accuracies = [_column(run, "eval/accuracy")[1] for run in runs]
    losses = [_column(run, "eval/loss")[1] for run in runs]
    rows.append(
      (
        name,
        str(len(runs)),
        _mean_and_deviation([100 * a[-1] for a in accuracies], "%"),
        _mean_and_deviation([100 * max(a) for a in accuracies], "%"),
        _mean_and_deviation([loss[-1] for loss in losses], "", digits=4),
      )
    )
  widths = [max(map(len, column)) for column in zip(*rows)]
  rows.insert(1, tuple("-" * width for width in widths))
  return "".join(
    "| " + " | ".join(map(str.ljust, row, widths)) + " |\n" for row in rows
  )


def _mean_and_deviation(values, unit, digits=2):
  """Mean and sample standard deviation; the mean alone of one value."""
  text = f"{statistics.mean(values):.{digits}f}"
  if len(values) > 1:
    text += f" ± {statistics.stdev(values):.{digits}f}"
  return f"{text} {unit}".strip()


def draw_curves(
  lines: Mapping[str, Sequence[Sequence[Mapping]]], path: str
) -> None:
  """Draws training loss and validation accuracy over epochs.

  A line is the mean over the seeds, its band reaches from the least to the
  greatest.
  """
  figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), dpi=120)
  for i, (name, runs) in enumerate(lines.items()):
    for axis, column in ((left, "train/loss"), (right, "eval/accuracy")):
      epochs = _column(runs[0], column)[0]
      values = list(zip(*(_column(run, column)[1] for run in runs)))
      means = [statistics.mean(v) for v in values]
      color = f"C{i}"
      axis.plot(epochs, means, color=color, label=name, linewidth=1.8)
      axis.fill_between(
        epochs,
        [min(v) for v in values],
        [max(v) for v in values],
        color=color,
        alpha=0.2,
        linewidth=0,
      )
  left.set(xlabel="epoch", ylabel="training loss")
  right.set(xlabel="epoch", ylabel="validation accuracy")
  # From where the differences are, not from the first epochs.
  last = [_column(run, "eval/accuracy")[1] for r in lines.values() for run in r]
  floor = min(min(values[len(values) // 3 :]) for values in last)
  right.set_ylim(bottom=max(0.0, floor - 0.02), top=1.002)
  right.legend(loc="lower right")
  for axis in (left, right):
    axis.grid(alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
  figure.tight_layout()
  figure.savefig(path)
  plt.close(figure)


def _column(run, name):
  """Returns the epochs of a run and its values of that name."""
  pairs = [(line["epoch"], line[name]) for line in run if name in line]
  return [epoch for epoch, _ in pairs], [value for _, value in pairs]
