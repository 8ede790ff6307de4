"""Compares rules by which the slow weights move, around SGD and AdamW.

python -m experiments.slow_rules --workdir=runs/slow_rules
python -m experiments.slow_rules --data=image_folder --data_dir=FOLDER \
    --workdir=runs/slow_rules_folder

A small convolutional network is trained on digits, or on a folder of images
that holds train/CLASS/*.jpg and validation/CLASS/*.jpg, by each rule at three
learning rates, with several seeds. All learning rates fall to 0 along a cosine.
The work directory keeps each run; the same command goes on where it stopped.
"""

import dataclasses
import math
from collections.abc import Callable

import keras
import numpy as np
from absl import flags

import lookahead_tf
from experiments import (
  repeated_runs,
  results,
  small_images,
  small_network,
  style,
)
from trainers import workdir

_PROGRAM = "slow_rules"
# By inner optimizer. Without a rule the high rate is the best one for digits,
# and the middle one for images of CIFAR-10.
RATES = {"SGD": (0.01, 0.03, 0.1), "AdamW": (0.001, 0.003, 0.01)}
# Periods of 5 and of 28 updates end with the last update.
UPDATES = 280
_MOMENTUM = 0.9
_ALONE = "alone"
RATE_NAMES = ("low rate", "middle rate", "high rate")
# Accuracies that are lower than the best by more are left out of the figure.
SPREAD = 20.0


@dataclasses.dataclass(frozen=True)
class Method:
  """What the table and the figure have in a row.

  Attributes:
    wrap: Returns the optimizer around an inner one, given the updates of a run.
    has_momentum: Whether the inner optimizer has its momentum of .9. Without,
      the learning rate of SGD is ten times as great, so that a gradient moves
      the weights equally far in the end.
  """

  wrap: Callable[[keras.optimizers.Optimizer, int], keras.optimizers.Optimizer]
  has_momentum: bool = True


def _ema_nesterov(inner, updates):
  # The published runs have a lead in the middle of training only.
  lead = keras.optimizers.schedules.PiecewiseConstantDecay(
    [updates // 5, 4 * updates // 5], [0.0, 0.5, 0.0]
  )
  return lookahead_tf.ema_nesterov(inner, lead)


# GPA's paper has .9 ** (1 / n) for an average over n updates: .9967 is of 32.
_SHORT_GPA = 0.9 ** (1 / 5)

METHODS = {
  _ALONE: Method(lambda inner, updates: inner),
  "Lookahead, k 5": Method(
    lambda inner, updates: lookahead_tf.Lookahead(inner, 5, 0.5)
  ),
  "SNOO, k 28": Method(lambda inner, updates: lookahead_tf.snoo(inner)),
  "SNOO, k 5": Method(lambda inner, updates: lookahead_tf.snoo(inner, 5)),
  "EMA, k 5": Method(
    lambda inner, updates: lookahead_tf.Lookahead(inner, 5, 0.1, pull_back=0.0)
  ),
  "EMA-Nesterov": Method(_ema_nesterov),
  "GPA, n 32": Method(
    lambda inner, updates: lookahead_tf.gpa(inner), has_momentum=False
  ),
  "GPA, n 5": Method(
    lambda inner, updates: lookahead_tf.gpa(inner, _SHORT_GPA),
    has_momentum=False,
  ),
  "GPA, n 5, momentum": Method(
    lambda inner, updates: lookahead_tf.gpa(inner, _SHORT_GPA)
  ),
}


def define_flags(values: flags.FlagValues) -> None:
  """Defines the flags of this program."""
  small_images.define_flags(values)
  flags.DEFINE_multi_enum(
    "inner_optimizer",
    [*RATES],
    [*RATES],
    "What the rules go around; may be given several times.",
    flag_values=values,
  )
  rules = [name for name in METHODS if name != _ALONE]
  flags.DEFINE_multi_enum(
    "rule",
    rules,
    rules,
    "A rule to train with; may be given several times. By default all.",
    flag_values=values,
  )
  for name, default, text in (
    ("seeds", 3, "How many seeds, from --seed on."),
    ("updates", UPDATES, "Length of each run."),
  ):
    flags.DEFINE_integer(name, default, text, lower_bound=1, flag_values=values)


def main(values: flags.FlagValues) -> None:
  """Trains as the flags say, and draws what comes of it."""
  task = small_images.from_flags(values)
  inner_optimizers = list(dict.fromkeys(values.inner_optimizer))
  with results.writing(values.workdir, _PROGRAM) as written:
    workdir.claim(
      values.workdir,
      setup={"data": values.data, "updates": values.updates},
    )
    runs = repeated_runs.Runs(values.workdir, small_network.Evaluation)
    seeds = range(values.seed, values.seed + values.seeds)
    found = {
      (inner, name): _train(inner, name, task, values.updates, seeds, runs)
      for inner in inner_optimizers
      for name in METHODS
      if name in (_ALONE, *values.rule)
    }
    written.save(_draw(found, inner_optimizers), values.data)
    written.write(*_report(found, task, values))


def _train(inner, name, task, updates, seeds, runs):
  """Returns the evaluations of the runs of each seed, by learning rate."""
  method = METHODS[name]
  trainings = []  # One, made if a run is missing, for all rates and seeds.

  def train(rate, seed):
    if not trainings:
      optimizer = make_optimizer(inner, name, updates)
      trainings.append(small_network.Training(optimizer, seed, task))
    return run(trainings[0], rate, seed, updates)

  by_rate = {}
  for rate in RATES[inner]:
    own = rate
    if inner == "SGD" and not method.has_momentum:
      own = rate / (1 - _MOMENTUM)
    by_rate[rate] = [
      runs.get(
        f"{inner}; {name}; learning rate {rate:g}; seed {seed}",
        lambda own=own, seed=seed: train(own, seed),
      )
      for seed in seeds
    ]
  return by_rate


def make_optimizer(
  inner: str, name: str, updates: int
) -> keras.optimizers.Optimizer:
  """Returns an optimizer, whose learning rate is to be assigned.

  Args:
    inner: One of `RATES`.
    name: One of `METHODS`.
    updates: Length of a run.
  """
  method = METHODS[name]
  momentum = _MOMENTUM if method.has_momentum else 0.0
  if inner == "SGD":
    optimizer = keras.optimizers.SGD(momentum=momentum)
  else:
    optimizer = keras.optimizers.AdamW(beta_1=momentum)
  return method.wrap(optimizer, updates)


def run(
  training: small_network.Training, rate: float, seed: int, updates: int
) -> small_network.Evaluation:
  """Trains at a learning rate that falls to 0; returns the last evaluation.

  Args:
    training: Of any state.
    rate: The learning rate of the first update.
    seed: As for `small_network.Training`.
    updates: How many.

  Returns:
    The evaluation of the slow weights, or of the weights where there are no
    slow ones. NaN if the training diverged.
  """
  training.restart(seed, rate)
  for i in range(updates):
    training.optimizer.learning_rate = (
      rate * (1 + math.cos(math.pi * i / updates)) / 2
    )
    if not math.isfinite(training.step()):
      return small_network.Evaluation(math.nan, math.nan)
  found = training.evaluate(training.slow_weights())
  if not math.isfinite(found.loss):
    return small_network.Evaluation(math.nan, math.nan)
  return found


def _draw(found, inner_optimizers):
  """Returns the figure: the accuracies of each method at each rate."""
  figure, axes = style.panels(1, len(inner_optimizers), 6.0, 4.4, sharey=True)
  names = list(dict.fromkeys(name for _, name in found))
  means = [
    repeated_runs.mean_accuracy(of)
    for by_rate in found.values()
    for of in by_rate.values()
  ]
  least, best = min(means), max(means)
  labels = [
    f"{name}: "
    + ", ".join(f"{inner} {RATES[inner][j]:g}" for inner in inner_optimizers)
    for j, name in enumerate(RATE_NAMES)
  ]
  for axis, inner in zip(axes[0], inner_optimizers):
    alone = found[inner, _ALONE]
    axis.axvline(
      max(map(repeated_runs.mean_accuracy, alone.values())),
      color=style.GRAY,
      ls="--",
      label="alone at its best",
    )
    for j, rate in enumerate(RATES[inner]):
      for i, name in enumerate(names):
        of = np.nan_to_num([one.accuracy for one in found[inner, name][rate]])
        y = i + (j - 1) * 0.22
        look = {"color": style.PALETTE[j], "marker": style.MARKERS[j]}
        axis.plot([min(of), max(of)], [y, y], color=look["color"])
        axis.plot([np.mean(of)], [y], ls="", label=labels[j], **look)
    axis.set(
      title=f"around {inner}",
      xlabel="held-out accuracy, %",
      xlim=(max(least - 3, best - SPREAD), best + 0.1 * SPREAD),
    )
    axis.set_yticks(range(len(names)), names)
  axes[0, 0].invert_yaxis()
  style.add_legend(figure, columns=4)
  return figure


def _report(found, task, values):
  """Returns the paragraphs of results.md."""
  rows = []
  for (inner, name), by_rate in found.items():
    best = repeated_runs.best_rate(by_rate)
    row = {"inner": inner, "rule": name}
    for word, rate in zip(RATE_NAMES, by_rate):
      accuracies = [one.accuracy for one in by_rate[rate]]
      row[word] = results.mean_and_deviation(accuracies)
    row["best rate"] = f"{best:g}"
    losses = [one.loss for one in by_rate[best]]
    row["loss there"] = results.mean_and_deviation(losses, digits=3)
    alone = found[inner, _ALONE]
    row["ahead of alone"] = (
      "" if name == _ALONE else repeated_runs.difference(by_rate, alone)
    )
    rows.append(row)
  size, held_out = len(task.data.train_labels), len(task.data.held_out_labels)
  rates = "; ".join(
    f"{inner} {', '.join(f'{rate:g}' for rate in RATES[inner])}"
    for inner in dict.fromkeys(values.inner_optimizer)
  )
  return (
    f"# Rules on the slow weights: {values.data}",
    f"{values.updates} updates of {task.batch_size} of {size:,} images, which "
    "the learning rate falls to 0 in, along a cosine; evaluated on the other "
    f"{held_out:,} with the slow weights. Seeds {values.seed} to "
    f"{values.seed + values.seeds - 1}. Low, middle and high learning rates: "
    f"{rates}. SGD has momentum {_MOMENTUM:g}, AdamW beta_1 {_MOMENTUM:g} and "
    "a weight decay of .004. GPA goes around SGD without momentum at 10 times "
    "the rate and around AdamW with beta_1 0, but for the rows with momentum.",
    results.make_table(rows),
    "Accuracies are in percent and losses in nats; ± is the sample standard "
    "deviation over the seeds. The last column is the difference of accuracy, "
    "each at its own best rate, seed by seed: the mean, and its standard "
    "error. The best rates were chosen by the same held-out images.",
  )


if __name__ == "__main__":
  results.run(main, define_flags)
