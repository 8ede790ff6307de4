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
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf
from absl import flags

from experiments import local, outcomes, results, style, sweep, trials
from experiments.outcomes import Outcome
from trainers import errors, files
from trainers import flags as flags_lib
from trainers.errors import UserError

_PROGRAM = "robustness"
_RATE = "learning_rate.peak"
_MOMENTUM = "optimizer.arguments.momentum"
_PERIOD = "lookahead.sync_period"
_STEP_SIZE = "lookahead.slow_step_size"


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
    periods: The values of k. Where there are none, nor are such runs.
    step_sizes: The values of alpha, less than 1.
    seeds: Runs of each combination.
    spread: Points of accuracy below the best one where colours end.
  """

  config: str
  overrides: Sequence[str]
  rates: Sequence[float]
  momenta: Sequence[float]
  period_rates: Sequence[float]
  periods: Sequence[int]
  step_sizes: Sequence[float]
  seeds: int
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
    periods=(5, 10),
    step_sizes=(0.2, 0.5, 0.8),
    seeds=2,
    spread=15.0,
  ),
  "image_folder": Form(
    config="configs/image_folder.py",
    overrides=(
      "model.width=8",
      "num_epochs=2",
      "learning_rate.warmup=0.5",
      "eval_every_epochs=2",
      "checkpoint_every_epochs=2",
    ),
    rates=(0.1, 0.3, 1.0),
    momenta=(0.9, 0.98),
    period_rates=(1.0,),
    periods=(5,),
    step_sizes=(0.2, 0.5, 0.8),
    seeds=1,
    spread=20.0,
  ),
}
# What optimizers are called, and their words in the configs.
_WORDS = {"SGD": "sgd", "Lookahead (SGD)": "lookahead"}
# The momentum of the runs at several k and alpha, as the configs have it.
_BASE_MOMENTUM = 0.9


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
  flags.DEFINE_integer(
    "seeds",
    None,
    "Runs of each combination, with seeds 0, 1, ...: by default 2 of digits "
    "and 1 of an image_folder.",
    lower_bound=1,
    flag_values=values,
  )
  flags.DEFINE_integer(
    "processes",
    None,
    "Runs at a time; by default one for each GPU, or for each processor where "
    "there is no GPU.",
    lower_bound=1,
    flag_values=values,
  )
  results.require_workdir(values)


def main(values: flags.FlagValues) -> None:
  """Trains as the flags say, and draws the maps."""
  files.check_no_pattern(workdir=values.workdir)
  if (values.data == "image_folder") != (values.data_dir is not None):
    raise UserError(
      "--data_dir=FOLDER goes with --data=image_folder. Received: --data="
      f"{values.data}, --data_dir={values.data_dir}"
    )
  form = FORMS[values.data]
  if values.seeds is not None:
    form = dataclasses.replace(form, seeds=values.seeds)
  setup = sweep.make_setup(values)
  tf.config.set_visible_devices([], "GPU")  # The trials have the GPUs.
  sweep.check_workdir(values.workdir)
  with (
    errors.saying_how_to_go_on(),
    results.writing(values.workdir, _PROGRAM) as written,
  ):
    found = local.run(
      make_trials(form),
      values.workdir,
      processes=values.processes,
      setup=setup,
    )
    failed = [one for one in found if one.status == outcomes.FAILED]
    if failed:
      raise UserError(
        f"{len(failed)} of {len(found)} runs failed; the same command tries "
        f"them again. The first: {failed[0].reason} Log: {failed[0].log}"
      )
    written.save(_draw_rates(found, form), "rates")
    if form.periods:
      written.save(_draw_periods(found, form), "periods")
    written.write(*_report(found, form, values.data))


def make_trials(form: Form) -> list[trials.Trial]:
  """Returns the runs at each rate and momentum, and those at each k and alpha.

  Some are in both: those of the configs' k and alpha.
  """

  def texts(numbers):
    return [f"{number:g}" for number in numbers]

  def make(words, axes):
    return trials.make(
      "image_classification",
      [f"{form.config}:{word}" for word in words],
      {field: texts(numbers) for field, numbers in axes.items()},
      form.seeds,
      form.overrides,
    )

  return [
    *make(("sgd", "lookahead"), {_RATE: form.rates, _MOMENTUM: form.momenta}),
    *make(
      ("lookahead",),
      {
        _PERIOD: form.periods,
        _STEP_SIZE: form.step_sizes,
        _RATE: form.period_rates,
      },
    ),
  ]


@dataclasses.dataclass(frozen=True)
class Score:
  """A figure of a run at its end.

  Attributes:
    name: With its unit.
    column: Its name in metrics.jsonl.
    factor: From the value there to the one shown.
    text: Format of a value.
    best: `max` or `min`.
  """

  name: str
  column: str
  factor: float
  text: str
  best: Callable[..., float]

  def values(self, runs: Sequence[Outcome]) -> list[float]:
    """Returns the value of each run, NaN of one that diverged."""
    finals = [run.final(self.column) for run in runs]
    return [
      math.nan if value is None else self.factor * value for value in finals
    ]

  def mean(self, runs: Sequence[Outcome]) -> float:
    """Returns the mean over runs of several seeds; NaN if one diverged."""
    return float(np.mean(self.values(runs)))


ACCURACY = Score(
  "validation accuracy, %", "eval/accuracy", 100.0, "{:.1f}", max
)
LOSS = Score("training loss, nats", "train/loss", 1.0, "{:.2f}", min)


def _select(found, word, **of):
  """Returns the runs of a config's word with these values on the axes.

  Args:
    found: All runs.
    word: "sgd" or "lookahead".
    **of: rate and momentum, or rate, period and step_size.
  """
  fields = {
    "rate": _RATE,
    "momentum": _MOMENTUM,
    "period": _PERIOD,
    "step_size": _STEP_SIZE,
  }
  wanted = {fields[name]: value for name, value in of.items()}
  return [
    run
    for run in found
    if run.trial.values[trials.CONFIG].endswith(f"_{word}")
    and {k: v for k, v in run.trial.values.items() if k != trials.CONFIG}
    == wanted
  ]


def rate_maps(
  found: Sequence[Outcome], form: Form, score: Score
) -> dict[str, list[list[float]]]:
  """Returns the map of SGD and that of Lookahead.

  Args:
    found: All runs.
    form: What was trained.
    score: To be shown.

  Returns:
    For each a row for each momentum, with a value for each learning rate.
  """
  return {
    title: [
      [
        score.mean(_select(found, word, rate=rate, momentum=momentum))
        for rate in form.rates
      ]
      for momentum in form.momenta
    ]
    for title, word in _WORDS.items()
  }


def period_maps(
  found: Sequence[Outcome], form: Form, score: Score
) -> dict[str, list[list[float]]]:
  """Returns a map for each learning rate, and one of the best of the rates.

  Args:
    found: All runs.
    form: What was trained.
    score: To be shown.

  Returns:
    For each title a row for each k, with a value for each alpha. The last
    value, alpha = 1, is that of SGD, whatever k.
  """
  tables = {}
  for rate in form.period_rates:
    sgd = _select(found, "sgd", rate=rate, momentum=_BASE_MOMENTUM)
    tables[f"learning rate {rate:g}"] = [
      [
        *(
          score.mean(
            _select(found, "lookahead", rate=rate, period=k, step_size=alpha)
          )
          for alpha in form.step_sizes
        ),
        score.mean(sgd),
      ]
      for k in form.periods
    ]
  if len(tables) > 1:
    tables["best of these rates"] = _best_of([*tables.values()], score)
  return tables


def _best_of(tables, score):
  """Returns the best value of each cell; NaN where all runs diverged."""
  return [
    [
      score.best([v for v in values if math.isfinite(v)], default=math.nan)
      for values in zip(*rows)
    ]
    for rows in zip(*tables)
  ]


def _draw_rates(found, form):
  """Returns the figure of learning rates and momenta."""
  figure, axes = style.panels(2, 2, 4.6, 3.0)
  x = ("learning rate", [f"{rate:g}" for rate in form.rates])
  y = ("momentum", [f"{momentum:g}" for momentum in form.momenta])
  for row, score in zip(axes, (ACCURACY, LOSS)):
    _draw_row(row, rate_maps(found, form, score), x, y, score, form)
  return figure


def _draw_periods(found, form):
  """Returns the figure of k and alpha."""
  columns = len(period_maps(found, form, ACCURACY))
  figure, axes = style.panels(2, columns, 3.6 if columns > 1 else 5.2, 3.0)
  x = (
    "alpha",
    [*(f"{alpha:g}" for alpha in form.step_sizes), "1\n(SGD)"],
  )
  y = ("k", [f"{k}" for k in form.periods])
  for row, score in zip(axes, (ACCURACY, LOSS)):
    _draw_row(row, period_maps(found, form, score), x, y, score, form)
  return figure


def _draw_row(row, tables, x, y, score, form):
  """Draws maps side by side, whose colours show the best values apart."""
  every = np.concatenate([np.ravel(table) for table in tables.values()])
  every = every[np.isfinite(every)]
  limits = None
  if every.size and score is ACCURACY:
    limits = (max(every.min(), every.max() - form.spread), every.max())
  elif every.size:
    limits = (every.min(), min(every.max(), every.min() + 0.5))
  style.draw_heat_maps(
    row, tables, x, y, label=score.name, text=score.text, limits=limits
  )


def _report(found, form, data):
  """Returns the paragraphs of results.md."""
  title = "digits" if data == "digits" else "a folder of images"
  return (
    f"# Lookahead over learning rate, momentum, k and alpha: {title}",
    f"{len(found)} runs of {form.config} with {', '.join(form.overrides)}, "
    f"{form.seeds} of each combination, with seeds 0 to {form.seeds - 1}. In "
    "the first map k = 5 and alpha = 0.5, in the second the momentum is "
    f"{_BASE_MOMENTUM:g}. Validation accuracies are those of the slow weights, "
    "training losses those of the fast weights over the last loop of steps. "
    "Values are means over the seeds; a combination of which a run diverged "
    "has none.",
    _rate_table(found, form),
    _period_table(found, form),
    _ranges(found, form),
  )


def _rate_table(found, form):
  rows = []
  for title, word in _WORDS.items():
    for momentum in form.momenta:
      row = {"optimizer": title, "momentum": f"{momentum:g}"}
      for rate in form.rates:
        of = _select(found, word, rate=rate, momentum=momentum)
        row[f"rate {rate:g}"] = _cell(of)
      rows.append(row)
  return results.make_table(rows)


def _period_table(found, form):
  rows = []
  for rate in form.period_rates:
    sgd = _select(found, "sgd", rate=rate, momentum=_BASE_MOMENTUM)
    for k in form.periods:
      row = {"rate": f"{rate:g}", "k": f"{k}"}
      for alpha in form.step_sizes:
        of = _select(found, "lookahead", rate=rate, period=k, step_size=alpha)
        row[f"alpha {alpha:g}"] = _cell(of)
      row["alpha 1 (SGD)"] = _cell(sgd)
      rows.append(row)
  return results.make_table(rows)


def _cell(runs):
  """Returns the accuracy with the deviation over the seeds, and the loss."""
  accuracy = ACCURACY.mean(runs)
  if math.isnan(accuracy):
    return "diverged"
  text = f"{accuracy:.2f}"
  if len(runs) > 1:
    text += f" ± {np.std(ACCURACY.values(runs), ddof=1):.2f}"
  return f"{text} % ({LOSS.mean(runs):.3f})"


def _ranges(found, form):
  """Returns how far the accuracies of each optimizer are apart."""
  parts = []
  for title, table in rate_maps(found, form, ACCURACY).items():
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
