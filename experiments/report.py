"""A table and figures of the metrics of several runs."""

import math
import os
import statistics
from collections.abc import Mapping, Sequence

from experiments import figures, results
from experiments.score import Score
from trainers import files, metrics, optimizers, workdir

# Below a table.
DEVIATION = (
  "± is the sample standard deviation over the seeds, not a confidence "
  "interval. The standard error of a mean is ± / sqrt(seeds); that of the "
  "difference of two means is the root of the sum of their squares. A "
  "difference of less than two of its standard errors may be noise."
)
_EXAMPLES = (
  "The column of {examples} examples is the standard error that one accuracy p "
  "has because it was measured on so few: sqrt(p (1 - p) / {examples}). On "
  "other examples accuracies would differ by about so much, and more seeds do "
  "not change that."
)


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
      best rate, which the picture names; and learning_rates.png if any name has
      several. Figures call a run after its optimizer, where no other has the
      same.
  """
  lines = {
    name: {
      rate: [metrics.read(workdir) for workdir in workdirs]
      for rate, workdirs in by_rate.items()
    }
    for name, by_rate in runs.items()
  }
  examples = _count_examples(runs, score)
  table = make_table(lines, score, examples)
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
  labels = _label(runs)
  paths.append(os.path.join(directory, "curves.png"))
  figures.draw_curves(
    {
      f"{labels[name]}, learning rate {rate:g}": lines[name][rate]
      for name, rate in best.items()
    },
    score,
    paths[-1],
  )
  if any(len(by_rate) > 1 for by_rate in finals.values()):
    paths.append(os.path.join(directory, "learning_rates.png"))
    figures.draw_learning_rates(
      {labels[name]: by_rate for name, by_rate in finals.items()},
      score,
      paths[-1],
    )
  print(f"\n{table}\n" + "\n".join(f"Written: {path}" for path in paths))


def _label(runs):
  """Returns what figures call each name: its optimizer, if that is enough."""
  labels = {}
  for name, by_rate in runs.items():
    (first, *_), *_ = by_rate.values()
    config = workdir.read(first, "config") or {}
    if "optimizer" in config:
      kind = optimizers.find_class(config["optimizer"]["name"]).__name__
      labels[name] = f"Lookahead ({kind})" if config["lookahead"] else kind
  is_enough = len(set(labels.values())) == len(runs)
  return labels if is_enough else {name: name for name in runs}


def _count_examples(runs, score):
  """Returns of how many examples all scores are; None if that is not known."""
  if score.examples is None:
    return None
  sources = [
    workdir.read(path, "source") or {}
    for by_rate in runs.values()
    for paths in by_rate.values()
    for path in paths
  ]
  counts = {source.get(score.examples) for source in sources}
  return counts.pop() if len(counts) == 1 else None


def make_table(
  lines: Mapping[str, Mapping[float, Sequence[Sequence[Mapping]]]],
  score: Score,
  examples: int | None = None,
) -> str:
  """Returns a Markdown table of final and best scores, and what ± means.

  Args:
    lines: For each name, for each learning rate, for each of its runs, the
      lines of metrics.jsonl.
    score: To be shown, beside the loss.
    examples: Of how many examples a score is the part that are right, for its
      standard error. None for a table without it.
  """
  rows = []
  for name, by_rate in lines.items():
    for rate, runs in by_rate.items():
      scores = [score.values(run) for run in runs]
      losses = [metrics.column(run, "eval/loss")[1] for run in runs]
      finals = [values[-1] for values in scores]
      bests = [score.best(values) for values in scores]
      row = {
        "run": name,
        "learning rate": f"{rate:g}",
        "seeds": str(len(runs)),
        f"final {score.name}": mean_and_deviation(finals, score.unit),
      }
      if examples:
        error = _standard_error(finals, score, examples)
        row[f"of {examples} examples"] = error
      row[f"best {score.name}"] = mean_and_deviation(bests, score.unit)
      row["final loss"] = mean_and_deviation(
        [loss[-1] for loss in losses], "", digits=4
      )
      rows.append(row)
  # Cells are text: numbers keep the digits that they were given.
  parts = [results.make_table(rows)]
  if any(row["seeds"] != "1" for row in rows):
    parts.append(DEVIATION)
  if examples:
    parts.append(_EXAMPLES.format(examples=examples))
  return "\n\n".join(parts) + "\n"


def _standard_error(values, score, examples):
  """Returns that of one value, the part of `examples` that are right."""
  part = statistics.mean(values) / score.factor
  error = score.factor * math.sqrt(part * (1 - part) / examples)
  return f"{error:.2f} {score.unit}".strip()


def mean_and_deviation(values, unit, digits=2):
  """Mean and sample standard deviation; the mean alone of one value."""
  text = f"{statistics.mean(values):.{digits}f}"
  if len(values) > 1:
    text += f" ± {statistics.stdev(values):.{digits}f}"
  return f"{text} {unit}".strip()
