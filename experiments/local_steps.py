"""Compares replicas that meet once a period with replicas that meet each step.

python -m experiments.local_steps --workdir=runs/local_steps
python -m experiments.local_steps --data=image_folder --data_dir=FOLDER \
    --workdir=runs/local_steps_folder

A small convolutional network is trained on digits, or on a folder of images
that holds train/CLASS/*.jpg and validation/CLASS/*.jpg, on 2 and on 4 replicas.
In each step the replicas share out the same batch. They sum their gradients in
each step, or meet after each period, where one of several rules moves the slow
weights. Each is trained at three learning rates, with several seeds. The work
directory keeps each run; the same command goes on where it stopped.
"""

import contextlib
import dataclasses
from collections.abc import Sequence

import keras
import numpy as np
from absl import flags

import lookahead_tf
from experiments import (
  repeated_runs,
  replicas,
  results,
  slow_rules,
  small_images,
  style,
)
from trainers import workdir
from trainers.errors import UserError

_PROGRAM = "local_steps"
# Of all replicas together.
BATCH_SIZE = 32
# A multiple of 5, 30 and 100: each run ends with a meeting.
UPDATES = 600
# By inner optimizer.
RATES = slow_rules.RATES
RULES = {
  "mean": {"slow_step_size": 1.0},
  "alpha .5": {"slow_step_size": 0.5},
  "momentum .9": {
    "slow_step_size": 0.7,
    "slow_momentum": 0.9,
    "slow_nesterov": True,
  },
  "momentum .4": {
    "slow_step_size": 0.7,
    "slow_momentum": 0.4,
    "slow_nesterov": True,
  },
}
_SYNCHRONOUS = "synchronous"


@dataclasses.dataclass(frozen=True)
class Form:
  """How replicas train.

  Attributes:
    inner: One of `RATES`.
    sync_period: How many steps replicas make until they meet. None where they
      sum their gradients in each step.
    rule: One of `RULES`, for how the slow weights move at a meeting. None
      without a `sync_period`.
  """

  inner: str
  sync_period: int | None = None
  rule: str | None = None

  def __call__(
    self, learning_rate: keras.optimizers.schedules.LearningRateSchedule
  ) -> keras.optimizers.Optimizer:
    """Returns an optimizer of that learning rate."""
    if self.inner == "SGD":
      inner = keras.optimizers.SGD(learning_rate, momentum=0.9)
    else:
      inner = keras.optimizers.AdamW(learning_rate)
    if self.sync_period is None:
      return inner
    return lookahead_tf.Lookahead(
      inner, self.sync_period, local_steps=True, **RULES[self.rule]
    )

  def __str__(self):
    if self.sync_period is None:
      return f"{self.inner}; {_SYNCHRONOUS}"
    return f"{self.inner}; k {self.sync_period}; {self.rule}"


def define_flags(values: flags.FlagValues) -> None:
  """Defines the flags of this program."""
  small_images.define_flags(values)
  for name, choices, text in (
    ("inner_optimizer", RATES, "What the replicas train with"),
    ("rule", RULES, "A rule by which the slow weights move at a meeting"),
  ):
    flags.DEFINE_multi_enum(
      name,
      [*choices],
      [*choices],
      f"{text}; may be given several times. By default all.",
      flag_values=values,
    )
  for name, default, least, text in (
    ("replicas", [2, 4], 2, "How many replicas"),
    ("sync_period", [5, 30, 100], 1, "Steps until replicas meet"),
  ):
    flags.DEFINE_multi_integer(
      name,
      default,
      f"{text}; may be given several times.",
      lower_bound=least,
      flag_values=values,
    )
  flags.DEFINE_multi_float(
    "learning_rate",
    None,
    "A learning rate to begin with; may be given several times. By default "
    "three for each inner optimizer.",
    lower_bound=0.0,
    flag_values=values,
  )
  for name, default, text in (
    ("seeds", 3, "How many seeds, from --seed on."),
    ("updates", UPDATES, "Length of each run: whole periods."),
  ):
    flags.DEFINE_integer(name, default, text, lower_bound=1, flag_values=values)


def main(values: flags.FlagValues) -> None:
  """Trains as the flags say, and draws what comes of it."""
  for period in values.sync_period:
    if values.updates % period:
      raise UserError(
        f"--updates={values.updates} must be a multiple of --sync_period="
        f"{period}, so that the last step of a run is a meeting."
      )
  for count in values.replicas:
    if BATCH_SIZE % count:
      raise UserError(
        f"--replicas={count} must divide {BATCH_SIZE}, the size of a batch."
      )
  inner_optimizers = {*values.inner_optimizer}
  if values.learning_rate and len(inner_optimizers) > 1:
    raise UserError(
      f"--learning_rate={values.learning_rate[0]:g} goes with one "
      f"--inner_optimizer. Received: {', '.join(sorted(inner_optimizers))}"
    )
  task = small_images.from_flags(values)._replace(batch_size=BATCH_SIZE)
  with results.writing(values.workdir, _PROGRAM) as written:
    workdir.claim(
      values.workdir,
      setup={"data": values.data, "updates": values.updates},
    )
    found = {}
    for count in dict.fromkeys(values.replicas):
      found |= _train(count, task, values)
    written.save(_draw(found, values), values.data)
    written.write(*_report(found, task, values))


def forms(
  inner_optimizers: Sequence[str],
  sync_periods: Sequence[int],
  rules: Sequence[str],
) -> list[Form]:
  """Returns all combinations, and before them replicas that meet each step.

  Args:
    inner_optimizers: Each one of `RATES`.
    sync_periods: As for `Form`.
    rules: Each one of `RULES`.
  """
  return [
    form
    for inner in dict.fromkeys(inner_optimizers)
    for form in (
      Form(inner),
      *(
        Form(inner, period, rule)
        for period in dict.fromkeys(sync_periods)
        for rule in dict.fromkeys(rules)
      ),
    )
  ]


def _train(count, task, values):
  """Returns for a number of replicas and each form the runs by learning rate.

  They are in a dictionary of (number of replicas, form).
  """
  runs = repeated_runs.Runs(values.workdir, replicas.Outcome)
  started = []  # One process, if a run is missing.
  with contextlib.ExitStack() as stack:

    def train(form, rate, seed):
      if not started:
        process = replicas.starting(count, task, values.updates)
        started.append(stack.enter_context(process))
      return started[0].run(form, rate, seed)

    return {
      (count, form): {
        rate: [
          runs.get(
            f"{count} replicas; {form}; learning rate {rate:g}; seed {seed}",
            lambda form=form, rate=rate, seed=seed: train(form, rate, seed),
          )
          for seed in range(values.seed, values.seed + values.seeds)
        ]
        for rate in dict.fromkeys(values.learning_rate or RATES[form.inner])
      }
      for form in forms(values.inner_optimizer, values.sync_period, values.rule)
    }


def _draw(found, values):
  """Returns the figure: the accuracies at the best rate over the period."""
  inner_optimizers = [*dict.fromkeys(form.inner for _, form in found)]
  counts = [*dict.fromkeys(count for count, _ in found)]
  figure, axes = style.panels(
    len(inner_optimizers), len(counts), sharex=True, sharey="row"
  )
  for row, inner in zip(axes, inner_optimizers):
    best = {
      key: by_rate[repeated_runs.best_rate(by_rate)]
      for key, by_rate in found.items()
      if key[1].inner == inner
    }
    every = np.nan_to_num([one.accuracy for of in best.values() for one in of])
    top, low = max(every), max(min(every), max(every) - slow_rules.SPREAD)
    margin = 0.05 * (top - low) + 0.1
    for axis, count in zip(row, counts):
      _draw_panel(axis, best, count, inner, values)
      axis.set(
        title=f"{count} replicas, {inner}",
        ylim=(low - margin, top + margin),
      )
    row[0].set_ylabel("held-out accuracy, %")
  for axis in axes[-1]:
    axis.set_xlabel("steps between meetings, k")
  style.add_legend(figure, columns=5)
  return figure


def _draw_panel(axis, best, count, inner, values):
  """Draws the runs of one number of replicas around one inner optimizer."""
  of = [one.accuracy for one in best[count, Form(inner)]]
  axis.axhspan(min(of), max(of), color=style.GRAY, alpha=0.2, linewidth=0)
  axis.axhline(
    repeated_runs.mean_accuracy(best[count, Form(inner)]),
    color=style.GRAY,
    ls="--",
    label=_SYNCHRONOUS,
  )
  periods = sorted({*values.sync_period})
  rules = [*dict.fromkeys(values.rule)]
  for j, rule in enumerate(rules):
    color, marker = style.PALETTE[j], style.MARKERS[j]
    runs = [best[count, Form(inner, period, rule)] for period in periods]
    # Side by side, so that lines from the least to the greatest are seen.
    x = [period * 1.06 ** (j - (len(rules) - 1) / 2) for period in periods]
    axis.plot(
      x,
      [*map(repeated_runs.mean_accuracy, runs)],
      color=color,
      marker=marker,
      label=rule,
    )
    for position, of in zip(x, runs):
      ends = [one.accuracy for one in of]
      axis.plot([position] * 2, [min(ends), max(ends)], color=color, lw=1)
  axis.set(xscale="log", xlim=(periods[0] / 1.3, periods[-1] * 1.3))
  axis.minorticks_off()
  axis.set_xticks(periods, [str(period) for period in periods])


def _report(found, task, values):
  """Returns the paragraphs of results.md."""
  rows = []
  for (count, form), by_rate in found.items():
    best = repeated_runs.best_rate(by_rate)
    runs = by_rate[best]
    is_apart = form.sync_period is not None
    row = {
      "inner": form.inner,
      "replicas": f"{count}",
      "k": f"{form.sync_period}" if is_apart else "",
      "rule": form.rule if is_apart else _SYNCHRONOUS,
    }
    titles = slow_rules.RATE_NAMES
    if values.learning_rate:
      titles = [f"learning rate {rate:g}" for rate in by_rate]
    for title, rate in zip(titles, by_rate):
      row[title] = results.mean_and_deviation(
        [one.accuracy for one in by_rate[rate]]
      )
    row["best rate"] = f"{best:g}"
    row["ahead"] = row["drift"] = ""
    if is_apart:
      row["ahead"] = repeated_runs.difference(
        by_rate, found[count, Form(form.inner)]
      )
      row["drift"] = ", ".join(
        f"{np.mean([getattr(one, name) for one in runs]):.2g}"
        for name in ("half_way", "drift")
      )
    row["kB a step"] = f"{runs[0].bytes_sent / 1000:.2f}"
    rows.append(row)
  size, held_out = len(task.data.train_labels), len(task.data.held_out_labels)
  rates = "".join(
    f"Low, middle and high learning rates of {inner}: "
    f"{', '.join(f'{rate:g}' for rate in RATES[inner])}. "
    for inner in dict.fromkeys(values.inner_optimizer)
    if not values.learning_rate
  )
  return (
    f"# Local steps: {values.data}",
    f"Each run has {values.updates} updates of {task.batch_size} of "
    f"{size:,} images. The replicas share out each batch. The learning rate "
    f"falls to 0 along a cosine. The other {held_out:,} images are held out, "
    "and the slow weights are evaluated on them. Seeds "
    f"{values.seed} to {values.seed + values.seeds - 1}. {rates}SGD has "
    "momentum .9, AdamW a weight decay of .004. The rule mean is a slow step "
    "size of 1; the rules with momentum have a slow step size of .7 and "
    "Nesterov's form.",
    results.make_table(rows),
    "Accuracies are in percent; ± is the sample standard deviation over the "
    "seeds. The column ahead is the difference to synchronous training on as "
    "many replicas, each at its own best rate, seed by seed: the mean, and its "
    "standard error. The best rates were chosen by the same held-out images. "
    "Drift is how far replicas were from their mean at the last meeting of the "
    "first half of the run and at that of the whole run, at the best rate: the "
    "root of the mean squared distance. The last column is what a replica "
    "sends in a ring of all, on the average over the steps.",
  )


if __name__ == "__main__":
  results.run(main, define_flags)
