"""A table and figures of the metrics of several runs."""

import math
import statistics
from collections.abc import Mapping, Sequence

from experiments import figures, outcomes, results
from experiments.outcomes import Outcome
from experiments.score import VALIDATION_LOSS, Score
from trainers import metrics, optimizers, workdir

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
_NOTHING = "-"  # In a cell of a table.


def write(
  runs: Mapping[str, Mapping[float, Sequence[Outcome]]],
  score: Score,
  written: results.Results,
) -> None:
  """Writes a table and figures, prints the table, and names the files.

  The figure curves has the curves of each name at its best rate, which the
  figure names. The figure learning_rates is drawn if any name has several
  rates. Figures call a run after its optimizer, where no other has the same.
  Runs that did not finish are counted, and listed below the table.

  Args:
    runs: For each name, for each learning rate, its runs, one for each seed.
    score: To compare them by.
    written: Where the files go.
  """
  every = [
    run for by_rate in runs.values() for of in by_rate.values() for run in of
  ]
  table = make_table(runs, score, _count_examples(every, score))
  finals = {
    name: {
      rate: values
      for rate, of in by_rate.items()
      if (values := outcomes.finals(of, score.column))
    }
    for name, by_rate in runs.items()
  }
  best = {
    name: score.best(by_rate, key=lambda rate: statistics.mean(by_rate[rate]))
    for name, by_rate in finals.items()
    if by_rate
  }
  labels = _label(runs)
  if best:
    curves = {
      f"{labels[name]}, learning rate {rate:g}": [
        run.lines for run in _finished(runs[name][rate])
      ]
      for name, rate in best.items()
    }
    written.save(figures.draw_curves(curves, score), "curves")
  if any(len(by_rate) > 1 for by_rate in finals.values()):
    over_rates = {labels[name]: finals[name] for name in best}
    figure = figures.draw_learning_rates(over_rates, score)
    written.save(figure, "learning_rates")
  written.write(*table, *describe_endings(every))


def _label(runs):
  """Returns what figures call each name: its optimizer, and what else differs.

  Of cifar_lookahead_speedrun and cifar_own_statistics_speedrun, both
  "Lookahead (SGD)", the second is "Lookahead (SGD), own statistics".
  """
  labels = {}
  for name, by_rate in runs.items():
    (first, *_), *_ = by_rate.values()
    config = first.trial.config
    kind = optimizers.find_class(config.optimizer.name).__name__
    labels[name] = f"Lookahead ({kind})" if config.lookahead else kind
  for label in set(labels.values()):
    alike = {name: name.split("_") for name in runs if labels[name] == label}
    shared = set.intersection(*map(set, alike.values()))
    for name, words in alike.items():
      own = " ".join(word for word in words if word not in shared)
      if own and own not in label.lower():
        labels[name] = f"{label}, {own}"
  is_enough = len(set(labels.values())) == len(runs)
  return labels if is_enough else {name: name for name in runs}


def _count_examples(runs, score):
  """Returns of how many examples all scores are; None if that is not known."""
  if score.examples is None:
    return None
  counts = {
    (workdir.read(run.workdir, "source") or {}).get(score.examples)
    for run in _finished(runs)
  }
  return counts.pop() if len(counts) == 1 else None


def _finished(runs):
  return [run for run in runs if run.status == outcomes.FINISHED]


def make_table(
  runs: Mapping[str, Mapping[float, Sequence[Outcome]]],
  score: Score,
  examples: int | None = None,
) -> list[str]:
  """Returns a Markdown table of final and best scores, and what ± means.

  Args:
    runs: As for `write`.
    score: To be shown, beside the loss.
    examples: Of how many examples a score is the part that are right, for its
      standard error. None for a table without it.

  Returns:
    The table, and paragraphs below it.
  """
  rows = []
  for name, by_rate in runs.items():
    for rate, of in by_rate.items():
      finals = outcomes.finals(of, score.column)
      seeds = f"{len(finals)} of {len(of)}"
      row = {
        "run": name,
        "learning rate": f"{rate:g}",
        "seeds": str(len(of)) if len(finals) == len(of) else seeds,
        f"final {score.name}": mean_and_deviation(finals, score),
      }
      if examples:
        error = _standard_error(finals, score, examples)
        row[f"of {examples} examples"] = error
      row[f"best {score.name}"] = mean_and_deviation(bests(of, score), score)
      row["final loss"] = mean_and_deviation(
        outcomes.finals(of, VALIDATION_LOSS.column), VALIDATION_LOSS
      )
      rows.append(row)
  parts = [results.make_table(rows)]
  if any(row["seeds"] != "1" for row in rows):
    parts.append(DEVIATION)
  if examples:
    parts.append(_EXAMPLES.format(examples=examples))
  return parts


def bests(runs: Sequence[Outcome], score: Score) -> list[float]:
  """Returns the best value of each run that finished."""
  return [
    score.best(metrics.column(run.lines, score.column)[1])
    for run in _finished(runs)
  ]


def describe_endings(runs: Sequence[Outcome]) -> list[str]:
  """Returns a paragraph on the runs that did not finish, if there are any.

  Each reason stands there once, with the runs that it ended.
  """
  endings = [
    f"- {outcomes.names(of)}: {status}. {reason}"
    for (status, reason), of in outcomes.by_reason(runs).items()
  ]
  if not endings:
    return []
  return ["\n".join(["Trials that did not finish:\n", *endings])]


def _standard_error(values, score, examples):
  """Returns that of one value, the part of `examples` that are right."""
  if not values:
    return _NOTHING
  part = statistics.mean(values)
  return score.text(math.sqrt(part * (1 - part) / examples))


def mean_and_deviation(values: Sequence[float], score: Score) -> str:
  """Returns mean and sample standard deviation; the mean alone of one value.

  Args:
    values: As they are in metrics.jsonl.
    score: What the values are.
  """
  if not values:
    return _NOTHING
  shown = [score.factor * value for value in values]
  return results.mean_and_deviation(shown, score.digits, score.unit)
