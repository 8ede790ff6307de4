"""Compares what becomes of the momentum at a synchronization (section 5.1).

python -m experiments.inner_state --workdir=runs/inner_state

A small convolutional network is trained on digits with SGD alone, and with
Lookahead around SGD that maintains, interpolates or resets the momentum, at two
momenta and several learning rates, with several seeds.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from absl import flags

from experiments import results, small_network, style
from trainers.errors import UserError

METHODS = ("SGD", "maintain", "interpolate", "reset")
_STYLES = {
  method: {"color": color, "linestyle": line, "marker": marker}
  for method, color, line, marker in zip(
    METHODS, style.PALETTE, style.LINE_STYLES, style.MARKERS
  )
}


def define_flags(values: flags.FlagValues) -> None:
  """Defines the flags of this program."""
  flags.DEFINE_list(
    "momenta", ["0.9", "0.99"], "Momenta of SGD.", flag_values=values
  )
  flags.DEFINE_list(
    "rate_factors",
    ["0.1", "0.3", "1", "3"],
    "Learning rates, as multiples of 1 - momentum: with one factor a gradient "
    "moves the weights equally far in the end, whatever the momentum.",
    flag_values=values,
  )
  for name, default, text in (
    ("seeds", 3, "How many seeds, from --seed on."),
    ("epochs", 15, "Length of each run."),
    ("sync_period", 5, "The paper's k."),
  ):
    flags.DEFINE_integer(name, default, text, lower_bound=1, flag_values=values)
  flags.DEFINE_float(
    "slow_step_size",
    0.5,
    "The paper's alpha.",
    lower_bound=0.0,
    upper_bound=1.0,
    flag_values=values,
  )


def main(values: flags.FlagValues) -> None:
  """Trains as the flags say, and draws what comes of it."""
  momenta = _numbers("momenta", values, least=0.0, limit=1.0)
  factors = _numbers("rate_factors", values, least=0.0, limit=math.inf)
  with results.writing(values.workdir, "inner_state") as written:
    runs = {
      (momentum, method): _train(method, momentum, factors, values)
      for momentum in momenta
      for method in METHODS
    }
    written.save(_draw(runs, momenta), "accuracy")
    written.write(*_report(runs, values))


def _numbers(name, values, *, least, limit):
  """Returns the numbers of a flag, at least `least` and less than `limit`."""
  numbers = []
  for text in values[name].value:
    try:
      number = float(text)
    except ValueError:
      number = math.nan
    if not least <= number < limit:
      upper = f" and less than {limit:g}" if limit < math.inf else ""
      raise UserError(
        f"--{name} must be finite numbers of at least {least:g}{upper}. "
        f"Received: {text!r}"
      )
    numbers.append(number)
  return list(dict.fromkeys(numbers))


def _train(method, momentum, factors, values):
  """Returns the accuracies of the runs of each seed, by learning rate."""
  lookahead = (
    ()
    if method == "SGD"
    else (values.sync_period, values.slow_step_size, method)
  )
  training = small_network.Training(
    small_network.make_optimizer(0.1, momentum, *lookahead), values.seed
  )
  by_rate = {}
  for factor in factors:
    # Without the digits that a product of floats has at its end.
    rate = float(f"{factor * (1 - momentum):.3g}")
    by_rate[rate] = []
    for seed in range(values.seed, values.seed + values.seeds):
      training.restart(seed, rate)
      by_rate[rate].append(_accuracies(training, values.epochs))
  return by_rate


def _accuracies(training, epochs):
  """Returns the accuracy in percent after each epoch, of slow weights if any.

  It is NaN from the epoch on in which the training diverged.
  """
  accuracies = np.full(epochs, math.nan)
  for epoch in range(epochs):
    losses = [training.step() for _ in range(small_network.STEPS_PER_EPOCH)]
    if not math.isfinite(sum(losses)):
      break
    accuracies[epoch] = training.evaluate(training.slow_weights()).accuracy
  return accuracies


def best_rate(by_rate: Mapping[float, Sequence[np.ndarray]]) -> float:
  """Returns the learning rate whose last accuracies have the greatest mean.

  Args:
    by_rate: The accuracies of each run. NaN, of a run that diverged, counts as
      0.
  """

  def score(rate):
    return np.mean(np.nan_to_num([run[-1] for run in by_rate[rate]]))

  return max(by_rate, key=score)


def _draw(runs, momenta):
  """Returns the figure: curves at the best rates, and the end at all rates."""
  figure, axes = style.panels(2, len(momenta), 5.2, 3.6, sharey="row")
  for (top, bottom), momentum in zip(axes.T, momenta):
    for method in METHODS:
      by_rate = runs[momentum, method]
      look = {**_STYLES[method], "label": _label(method)}
      best = by_rate[best_rate(by_rate)]
      epochs = np.arange(1, len(best[0]) + 1)
      style.draw_band(top, epochs, np.transpose(best), **look)
      rates = sorted(by_rate)
      finals = [[run[-1] for run in by_rate[rate]] for rate in rates]
      style.draw_band(bottom, rates, finals, **look)
    top.set(
      xlabel="epoch, each at its best learning rate",
      title=f"momentum {momentum:g}",
    )
    bottom.set(xscale="log", xlabel="learning rate")
  axes[0, 0].set_ylabel("held-out accuracy, %")
  axes[1, 0].set_ylabel("held-out accuracy\nafter the last epoch, %")
  finals = [
    np.nan_to_num(run[-1]) for by in runs.values() for run in by[best_rate(by)]
  ]
  for axis in axes.flat:
    axis.set_ylim(max(0, min(finals) - 8), 100)
  style.add_legend(figure, columns=4)
  return figure


def _label(method):
  return method if method == "SGD" else f"Lookahead, {method}"


def _report(runs, values):
  """Returns the paragraphs of results.md."""
  rows = []
  for (momentum, method), by_rate in runs.items():
    best = best_rate(by_rate)
    row = {"momentum": f"{momentum:g}", "optimizer": _label(method)}
    row["best rate"] = f"{best:g}"
    row["accuracy there"] = _finals(by_rate[best])
    for rate, of_rate in by_rate.items():
      factor = f"{rate / (1 - momentum):.2g}"
      row[f"at {factor} (1 - momentum)"] = _finals(of_rate)
    rows.append(row)
  return (
    "# What becomes of the momentum at a synchronization",
    f"{small_network.DESCRIPTION} {values.epochs} epochs of "
    f"{small_network.STEPS_PER_EPOCH} updates at a constant learning rate, "
    f"seeds {values.seed} to {values.seed + values.seeds - 1}; Lookahead with "
    f"k = {values.sync_period} and alpha = {values.slow_step_size:g}, "
    "evaluated with its slow weights.",
    results.make_table(rows),
    "The accuracies are those after the last epoch, in percent; ± is the "
    "sample standard deviation over the seeds. The best rate of each row was "
    "chosen by the same digits.",
  )


def _finals(runs):
  """Returns the accuracies after the last epoch, for a table."""
  return results.mean_and_deviation([run[-1] for run in runs])


if __name__ == "__main__":
  results.run(main, define_flags)
