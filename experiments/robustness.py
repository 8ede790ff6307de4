"""Maps what learning rate, momentum, k and alpha make of a short training.

python -m experiments.robustness --workdir=runs/robustness
python -m experiments.robustness --data=image_folder --data_dir=FOLDER \
    --workdir=runs/robustness_folder

After figures 8 and 9 of the paper and the ablations of section 5.1: SGD and
Lookahead around the same SGD at each learning rate and momentum, and Lookahead
at each k and alpha. FOLDER holds train/CLASS/*.jpg and validation/CLASS/*.jpg.
The work directory keeps each run, results.md and the figures; the same command
goes on where it stopped.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from absl import flags

from experiments import local, program, report, results, style, trials
from experiments.outcomes import Outcome
from experiments.score import ACCURACY, TRAINING_LOSS, Score
from trainers import errors
from trainers import flags as flags_lib
from trainers.errors import UserError

_PROGRAM = "robustness"
_TRAINER = "image_classification"
_RATE = "learning_rate.peak"
_MOMENTUM = "optimizer.arguments.momentum"
_PERIOD = "lookahead.sync_period"
_STEP_SIZE = "lookahead.slow_step_size"
# Of the map of learning rates and momenta, as the configs have them.
_BASE_PERIOD, _BASE_STEP_SIZE = 5, 0.5
_BASE_MOMENTUM = 0.9  # Of the map of k and alpha.
_LOSS = dataclasses.replace(TRAINING_LOSS, unit="nats")
# What is shown, and how heat maps write it.
_SHOWN = ((ACCURACY, "{:.1f}"), (_LOSS, "{:.2f}"))


@dataclasses.dataclass(frozen=True)
class Form:
  """What is trained on a data set.

  Attributes:
    config: The file of the experiment, with the words sgd and lookahead.
    overrides: FIELD=VALUE for all runs, which make them short.
    rates: Learning rates, in order.
    momenta: Momenta, in order.
    period_rates: Learning rates of the runs at several k and alpha, some of
      `rates`.
    periods: The values of k.
    step_sizes: The values of alpha, less than 1.
    spread: Points of accuracy below the best one where colours end.
  """

  config: str
  overrides: Sequence[str]
  rates: Sequence[float]
  momenta: Sequence[float]
  period_rates: Sequence[float]
  periods: Sequence[int]
  step_sizes: Sequence[float]
  spread: float


FORMS = {
  "digits": Form(
    config="configs/digits.py",
    overrides=(
      "num_epochs=6",
      "eval_every_epochs=6",
      "checkpoint_every_epochs=6",
    ),
    rates=(0.03, 0.1, 0.3, 1.0),
    momenta=(0.9, 0.95, 0.98),
    period_rates=(0.1, 0.3, 1.0),
    periods=(1, 5, 10, 20),
    step_sizes=(0.2, 0.5, 0.8),
    spread=15.0,
  ),
  "image_folder": Form(
    config="configs/image_folder.py",
    overrides=(
      "data.image_size=16",
      "data.crop_padding=2",
      "model.width=8",
      "num_epochs=2",
      "learning_rate.warmup=0.5",
      "eval_every_epochs=2",
      "checkpoint_every_epochs=2",
    ),
    rates=(0.1, 0.3, 1.0),
    momenta=(0.9, 0.98),
    period_rates=(0.3, 1.0),
    periods=(5, 10, 20),
    step_sizes=(0.2, 0.5, 0.8),
    spread=20.0,
  ),
}


def define_flags(values: flags.FlagValues) -> None:
  """Defines the flags of this program, beside `flags.define_devices`."""
  flags.DEFINE_enum(
    "data",
    "digits",
    list(FORMS),
    "digits of scikit-learn, or a folder of small images.",
    flag_values=values,
  )
  flags_lib.define_path("data_dir", "The folder of images.", values)
  program.define_flags(values, seeds=3)


def main(values: flags.FlagValues) -> None:
  """Trains as the flags say, and draws the maps."""
  setup = program.prepare(values)
  if (values.data == "image_folder") != (values.data_dir is not None):
    raise UserError(
      "--data_dir=FOLDER goes with --data=image_folder. Received: --data="
      f"{values.data}, --data_dir={values.data_dir}"
    )
  form = FORMS[values.data]
  todo = make_trials(form, values.seeds)
  with (
    errors.saying_how_to_go_on(),
    results.writing(values.workdir, _PROGRAM) as written,
  ):
    program.claim(
      values.workdir, _TRAINER, [_RATE, _MOMENTUM, _PERIOD, _STEP_SIZE]
    )
    found = local.run(
      todo, values.workdir, processes=values.processes, setup=setup
    )
    program.check_none_failed(found)
    maps = Maps(found, form)
    written.save(_draw(maps.over_rates, *_rate_axes(form), form), "rates")
    written.save(_draw(maps.over_periods, *_period_axes(form), form), "periods")
    written.write(*_report(maps, form, values))


def make_trials(form: Form, seeds: int) -> list[trials.Trial]:
  """Returns the runs at each rate and momentum, and those at each k and alpha.

  A run of both maps is there once. The runs with seed 0 come first, then those
  with seed 1, and so on: where there is no time for all, there are maps of
  fewer seeds.

  Args:
    form: What is trained.
    seeds: Runs of each combination, with seeds 0, 1, ...
  """

  def make(word, axes):
    texts = {
      field: [f"{number:g}" for number in numbers]
      for field, numbers in axes.items()
    }
    reference = f"{form.config}:{word}"
    return trials.make(_TRAINER, [reference], texts, seeds, form.overrides)

  made = [
    *make("sgd", {_RATE: form.rates, _MOMENTUM: form.momenta}),
    *make(
      "lookahead",
      {
        _RATE: form.rates,
        _MOMENTUM: form.momenta,
        _PERIOD: [_BASE_PERIOD],
        _STEP_SIZE: [_BASE_STEP_SIZE],
      },
    ),
    *make(
      "lookahead",
      {
        _RATE: form.period_rates,
        _MOMENTUM: [_BASE_MOMENTUM],
        _PERIOD: form.periods,
        _STEP_SIZE: form.step_sizes,
      },
    ),
  ]
  once = {trial.name: trial for trial in made}.values()
  return sorted(once, key=lambda trial: trial.seed)


class Maps:
  """The scores of all runs, arranged in maps.

  Args:
    found: All runs.
    form: What was trained.
  """

  def __init__(self, found: Sequence[Outcome], form: Form):
    self._form = form
    self._runs = {}
    for one in found:
      fields = _RATE, _MOMENTUM, _PERIOD, _STEP_SIZE
      key = tuple(one.trial.values.get(field) for field in fields)
      self._runs.setdefault(key, []).append(one)

  def __len__(self) -> int:
    """How many runs there are."""
    return sum(map(len, self._runs.values()))

  def sgd(self, rate: float, momentum: float) -> list[Outcome]:
    """Returns the runs of SGD alone, one for each seed."""
    return self._runs[rate, momentum, None, None]

  def lookahead(
    self,
    rate: float,
    momentum: float = _BASE_MOMENTUM,
    period: int = _BASE_PERIOD,
    step_size: float = _BASE_STEP_SIZE,
  ) -> list[Outcome]:
    """Returns the runs of Lookahead around SGD, one for each seed."""
    return self._runs[rate, momentum, period, step_size]

  def row(self, rate: float, period: int) -> list[list[Outcome]]:
    """Returns the runs at each alpha and, for alpha = 1, those of SGD."""
    return [
      *(
        self.lookahead(rate, period=period, step_size=alpha)
        for alpha in self._form.step_sizes
      ),
      self.sgd(rate, _BASE_MOMENTUM),
    ]

  def over_rates(self, score: Score) -> dict[str, list[list[float]]]:
    """Returns a map of SGD and one of Lookahead.

    Args:
      score: To be shown.

    Returns:
      For each optimizer a row for each momentum, with a value for each rate.
    """
    return {
      title: [
        [mean(runs_at(rate, momentum), score) for rate in self._form.rates]
        for momentum in self._form.momenta
      ]
      for title, runs_at in self.optimizers().items()
    }

  def optimizers(self):
    """Returns for each optimizer a function of a rate and a momentum."""
    return {"SGD": self.sgd, "Lookahead (SGD)": self.lookahead}

  def over_periods(self, score: Score) -> dict[str, list[list[float]]]:
    """Returns a map for each learning rate, and one of the best of the rates.

    Args:
      score: To be shown.

    Returns:
      For each title a row for each k, with a value for each alpha.
    """
    tables = {
      f"learning rate {rate:g}": [
        [mean(runs, score) for runs in self.row(rate, k)]
        for k in self._form.periods
      ]
      for rate in self._form.period_rates
    }
    tables["best of these rates"] = [
      [
        score.best([v for v in values if math.isfinite(v)], default=math.nan)
        for values in zip(*rows)
      ]
      for rows in zip(*tables.values())
    ]
    return tables


def mean(runs: Sequence[Outcome], score: Score) -> float:
  """Returns the mean score of runs as shown; NaN if any did not finish."""
  finals = [run.final(score.column) for run in runs]
  if None in finals:
    return math.nan
  return score.factor * float(np.mean(finals))


def _rate_axes(form):
  """Returns the axes of the first figure: a label and the ticks of each."""
  return (
    ("learning rate", [f"{rate:g}" for rate in form.rates]),
    ("momentum", [f"{momentum:g}" for momentum in form.momenta]),
  )


def _period_axes(form):
  alphas = [f"{alpha:g}" for alpha in form.step_sizes]
  return ("alpha", [*alphas, "1\n(SGD)"]), ("k", [f"{k}" for k in form.periods])


def _draw(make_maps, x, y, form):
  """Returns a figure with a row of maps of each score, on one scale each."""
  tables = [make_maps(score) for score, _ in _SHOWN]
  figure, axes = style.panels(
    len(_SHOWN), len(tables[0]), 0.7 * len(x[1]) + 1.8, 0.5 * len(y[1]) + 1.6
  )
  for row, table, (score, text) in zip(axes, tables, _SHOWN):
    limits = _limits(np.array([*table.values()]), score, form)
    style.draw_heat_maps(
      row, table, x, y, label=score.label, text=text, limits=limits
    )
  return figure


def _limits(values, score, form):
  """Returns where colours end: they show the best values apart."""
  values = values[np.isfinite(values)]
  if not values.size:
    return None
  low, high = values.min(), values.max()
  if score is ACCURACY:
    return max(low, high - form.spread), high
  return low, min(high, low + 0.5)


def _report(maps, form, values):
  """Returns the paragraphs of results.md."""
  title = "digits" if values.data == "digits" else "a folder of images"
  return (
    f"# Lookahead over learning rate, momentum, k and alpha: {title}",
    f"{len(maps)} runs of {form.config} with {', '.join(form.overrides)}, "
    f"{values.seeds} of each combination, with seeds 0 to {values.seeds - 1}. "
    f"In the first map k = {_BASE_PERIOD} and alpha = {_BASE_STEP_SIZE:g}, in "
    f"the second the momentum is {_BASE_MOMENTUM:g}. Validation accuracies are "
    "those of the slow weights, training losses those of the fast weights over "
    "the last loop of steps. Values are means over the seeds; a combination of "
    "which a run diverged has none.",
    _rate_table(maps, form),
    _period_table(maps, form),
    _ranges(maps),
  )


def _rate_table(maps, form):
  rows = []
  for title, runs_at in maps.optimizers().items():
    for momentum in form.momenta:
      row = {"optimizer": title, "momentum": f"{momentum:g}"}
      for rate in form.rates:
        row[f"rate {rate:g}"] = _cell(runs_at(rate, momentum))
      rows.append(row)
  return results.make_table(rows)


def _period_table(maps, form):
  titles = [f"alpha {alpha:g}" for alpha in form.step_sizes]
  titles.append("alpha 1 (SGD)")
  return results.make_table(
    [
      {"rate": f"{rate:g}", "k": f"{k}"}
      | dict(zip(titles, map(_cell, maps.row(rate, k))))
      for rate in form.period_rates
      for k in form.periods
    ]
  )


def _cell(runs):
  """Returns the accuracy with the deviation over the seeds, and the loss."""
  accuracies = [run.final(ACCURACY.column) for run in runs]
  if None in accuracies:
    return "diverged"
  accuracy = report.mean_and_deviation(accuracies, ACCURACY)
  return f"{accuracy} ({mean(runs, _LOSS):.3f})"


def _ranges(maps):
  """Returns how far the accuracies of each optimizer are apart."""
  parts = []
  for title, table in maps.over_rates(ACCURACY).items():
    known = np.array(table)[np.isfinite(table)]
    missing = np.size(table) - len(known)
    text = (
      f"{title}: no run ended"
      if not len(known)
      else (
        f"{title}: {known.min():.1f} to {known.max():.1f} %, mean "
        f"{known.mean():.1f} %"
      )
    )
    parts.append(f"{text} ({missing} diverged)" if missing else text)
  return (
    "Accuracies over all learning rates and momenta of the first table: "
    f"{'; '.join(parts)}. In both tables the training loss is in brackets, and "
    "± is the sample standard deviation over the seeds."
  )


if __name__ == "__main__":
  flags_lib.run(main, define_flags)
