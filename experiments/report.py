"""A table and figures of the metrics of several runs."""

import os
import statistics
from collections.abc import Mapping, Sequence

import tabulate

from experiments import figures
from experiments.score import Score
from trainers import files, metrics


def write(
  runs: Mapping[str, Mapping[float, Sequence[str]]],
  score: Score,
  directory: str,
) -> None:
  """Prints a table, writes it and figures to `directory`, and names them.

  Args:
    runs: For each name, for each learning rate, the work directories of its
      runs, one for each seed.
    score: To compare them by.
    directory: Gets results.md and curves.png, the curves of each name at its
      best rate; and learning_rates.png if any name has several.
  """
  lines = {
    name: {
      rate: [metrics.read(workdir) for workdir in workdirs]
      for rate, workdirs in by_rate.items()
    }
    for name, by_rate in runs.items()
  }
  table = make_table(lines, score)
  paths = [os.path.join(directory, "results.md")]
  files.write_whole(paths[0], table)
  finals = {
    name: {
      rate: [metrics.column(run, score.column)[1][-1] for run in of_rate]
      for rate, of_rate in by_rate.items()
    }
    for name, by_rate in lines.items()
  }
  best = {
    name: score.best(by_rate, key=lambda rate: statistics.mean(by_rate[rate]))
    for name, by_rate in finals.items()
  }
  paths.append(os.path.join(directory, "curves.png"))
  figures.draw_curves(
    {
      name if len(lines[name]) == 1 else f"{name}, {rate:g}": lines[name][rate]
      for name, rate in best.items()
    },
    score,
    paths[-1],
  )
  if any(len(by_rate) > 1 for by_rate in finals.values()):
    paths.append(os.path.join(directory, "learning_rates.png"))
    figures.draw_learning_rates(finals, score, paths[-1])
  print(f"\n{table}\n" + "\n".join(f"Written: {path}" for path in paths))


def make_table(
  lines: Mapping[str, Mapping[float, Sequence[Sequence[Mapping]]]],
  score: Score,
) -> str:
  """Returns a Markdown table of final and best scores, mean and deviation.

  Args:
    lines: For each name, for each learning rate, for each of its runs, the
      lines of metrics.jsonl.
    score: To be shown, beside the loss.
  """
  rows = [
    (
      "run",
      "learning rate",
      "seeds",
      f"final {score.name}",
      f"best {score.name}",
      "final loss",
    )
  ]
  for name, by_rate in lines.items():
    for rate, runs in by_rate.items():
      scores = [score.values(run) for run in runs]
      losses = [metrics.column(run, "eval/loss")[1] for run in runs]
      rows.append(
        (
          name,
          f"{rate:g}",
          str(len(runs)),
          _mean_and_deviation([values[-1] for values in scores], score.unit),
          _mean_and_deviation(
            [score.best(values) for values in scores], score.unit
          ),
          _mean_and_deviation([loss[-1] for loss in losses], "", digits=4),
        )
      )
  head, *body = rows
  # Cells are text: numbers keep the digits that they were given.
  table = tabulate.tabulate(
    body, head, tablefmt="github", disable_numparse=True
  )
  return f"{table}\n"


def _mean_and_deviation(values, unit, digits=2):
  """Mean and sample standard deviation; the mean alone of one value."""
  text = f"{statistics.mean(values):.{digits}f}"
  if len(values) > 1:
    text += f" ± {statistics.stdev(values):.{digits}f}"
  return f"{text} {unit}".strip()
