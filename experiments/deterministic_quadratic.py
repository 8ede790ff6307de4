"""How fast momentum converges on a quadratic, alone and within Lookahead.

python -m experiments.deterministic_quadratic \
    --workdir=runs/deterministic_quadratic

Section 3.2 of the paper. SGD with momentum, and Lookahead around it, minimize
quadratics without noise; the factor by which the distance to the minimum
shrinks in a step stands beside the spectral radius of the matrix of a period.
"""

import dataclasses
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from absl import flags

from experiments import quadratics, results, style
from lookahead_tf import Lookahead
from trainers import tracing

_PERIOD = 20
_STEP_SIZE = 0.5
_MOMENTUM = 0.99
_OTHER_MOMENTUM = 0.9  # Drawn, and not measured.

# In one direction, at the learning rate 1.
_CURVATURES = (1.0, 0.3, 0.1, 0.03, 0.01, 3e-3, 1e-3, 3e-4, 1e-4, 1e-5, 1e-6)
# In all directions with curvatures from 1 / kappa to 1, at the best rate.
_CONDITION_NUMBERS = (10.0, 100.0, 1e3, 1e4, 1e5)
_DIRECTIONS = 100

_PERIODS = 900
# A double underflows below; further periods of such a direction tell nothing.
_LEAST_ENERGY = 1e-290

_NAMES = ("SGD", "Lookahead (SGD)")


@dataclasses.dataclass(frozen=True)
class Trial:
  """How fast one optimizer converges.

  Attributes:
    optimizer: One of _NAMES.
    condition_number: kappa.
    learning_rate: gamma.
    measured: The factor of one inner step, by the optimizer itself.
    expected: By the matrix.
  """

  optimizer: str
  condition_number: float
  learning_rate: float
  measured: float
  expected: float


def main(values: flags.FlagValues) -> None:
  """Measures and reports."""
  with results.writing(values.workdir, "deterministic_quadratic") as written:
    alone = measure_directions(_CURVATURES)
    worst = measure_condition_numbers(_CONDITION_NUMBERS)
    written.save(_draw(alone, worst), "rates")
    deviation = max(abs(t.measured - t.expected) for t in [*alone, *worst])
    written.write(
      "# Momentum on a quadratic, alone and within Lookahead",
      "The factor by which the distance to the minimum shrinks in one inner "
      f"step: momentum {_MOMENTUM:g}; Lookahead with k = {_PERIOD}, alpha = "
      f"{_STEP_SIZE:g}. In one direction, learning rate 1:",
      _table(alone, "1 / curvature"),
      "In the slowest direction with a curvature from 1 / kappa to 1, each at "
      "its best learning rate:",
      _table(worst, "kappa"),
      f"The greatest deviation is {deviation:.1e}.",
    )


def expected_rates(
  products: np.ndarray, momentum: float
) -> dict[str, np.ndarray]:
  """Returns for each of _NAMES the factors of one inner step.

  Args:
    products: gamma h, the learning rate times the curvature.
    momentum: beta.
  """
  step = quadratics.momentum_step(1.0, products, momentum)
  period = quadratics.lookahead_period(
    1.0, products, momentum, _PERIOD, _STEP_SIZE
  )
  rates = quadratics.rate(step), quadratics.rate(period, _PERIOD)
  return dict(zip(_NAMES, rates))


def best_learning_rates(
  condition_numbers: Sequence[float], momentum: float
) -> dict[str, list[tuple[float, float, float]]]:
  """Returns for each of _NAMES which learning rates are best.

  The factor depends on gamma h alone, and a learning rate gamma has those from
  gamma / kappa to gamma: a window on the logarithmic scale.

  Args:
    condition_numbers: kappa, at most 1e6.
    momentum: beta.

  Returns:
    For each condition number the learning rate, the factor in the slowest
    direction with a curvature from 1 / kappa to 1, and that curvature.
  """
  products = np.geomspace(1e-8, 2 * (1 + momentum), 20_000)[:-1]
  distance = np.log(products[1] / products[0])
  best = {}
  for name, rates in expected_rates(products, momentum).items():
    best[name] = []
    for kappa in condition_numbers:
      width = 1 + round(np.log(kappa) / distance)
      windows = np.lib.stride_tricks.sliding_window_view(rates, width)
      slowest = windows.max(axis=-1)
      # Momentum is as fast at many rates: the one amid them is none of those
      # where its two eigenvalues are equal, and its limit comes late.
      ties = np.flatnonzero(slowest <= slowest.min() + 1e-12)
      first = int(ties[len(ties) // 2])
      worst = first + int(windows[first].argmax())
      gamma = products[first + width - 1]
      best[name].append((gamma, rates[worst], products[worst] / gamma))
  return best


def measure_directions(
  curvatures: Sequence[float], periods: int = _PERIODS
) -> list[Trial]:
  """Returns how fast each direction converges at the learning rate 1.

  Args:
    curvatures: Of the directions.
    periods: How many to make.
  """
  h = np.array(curvatures)
  optimizers = _make_optimizers(1.0, 1.0)
  measured = _measure(optimizers, [h, h], [1.0, 1.0], periods)
  expected = expected_rates(h, _MOMENTUM)
  return [
    Trial(name, 1 / curvature, 1.0, rates[i], expected[name][i])
    for name, rates in zip(_NAMES, measured)
    for i, curvature in enumerate(curvatures)
  ]


def measure_condition_numbers(
  condition_numbers: Sequence[float], periods: int = _PERIODS
) -> list[Trial]:
  """Returns how fast the slowest direction converges, at the best rates.

  Args:
    condition_numbers: Of the quadratics, which have 100 directions each.
    periods: How many to make.
  """
  best = best_learning_rates(condition_numbers, _MOMENTUM)
  optimizers, curvatures, gammas, trials = [], [], [], []
  for kappa, alone, within in zip(condition_numbers, *best.values()):
    optimizers += _make_optimizers(alone[0], within[0])
    for name, (gamma, rate, slowest) in zip(_NAMES, (alone, within)):
      directions = np.geomspace(1 / kappa, 1.0, _DIRECTIONS - 1)
      curvatures.append(np.append(directions, slowest))
      gammas.append(gamma)
      trials.append(Trial(name, kappa, gamma, np.nan, rate))
  measured = _measure(optimizers, curvatures, gammas, periods)
  return [
    dataclasses.replace(trial, measured=rates.max())
    for trial, rates in zip(trials, measured)
  ]


def _make_optimizers(alone, within):
  """Returns SGD and Lookahead around it, at a learning rate each."""
  return [
    keras.optimizers.SGD(alone, momentum=_MOMENTUM),
    Lookahead(
      keras.optimizers.SGD(within, momentum=_MOMENTUM), _PERIOD, _STEP_SIZE
    ),
  ]


def _measure(optimizers, curvatures, gammas, periods):
  """Returns for each optimizer the factors of one inner step, by direction.

  Weights start at 1. What shrinks by the square of the factor is the energy of
  theta and its velocity v, h theta^2 + v^2 / gamma: theta alone oscillates.

  Args:
    optimizers: New ones.
    curvatures: Of the quadratic of each, an array.
    gammas: The learning rate of each.
    periods: How many to make.
  """
  weights = [
    keras.Variable(np.ones(h.shape), dtype="float64") for h in curvatures
  ]
  for optimizer, x in zip(optimizers, weights):
    optimizer.build([x])
  velocities = [
    getattr(optimizer, "inner_optimizer", optimizer).momentums[0]
    for optimizer in optimizers
  ]

  @tf.function
  def train():
    energies = [tf.TensorArray("float64", periods) for _ in optimizers]
    for period in tf.range(periods):
      for _ in tf.range(_PERIOD):
        for optimizer, h, x in zip(optimizers, curvatures, weights):
          optimizer.apply([x * h], [x])
      energies = [
        energy.write(period, h * x**2 + v**2 / gamma)
        for energy, h, x, v, gamma in zip(
          energies, curvatures, weights, velocities, gammas
        )
      ]
    return [energy.stack() for energy in energies]

  return [
    np.array([_slope(energy) for energy in of_one.numpy().T])
    for of_one in tracing.concrete(train)()
  ]


def _slope(energies):
  """Returns the factor of one inner step, by the energies after periods.

  It is the slope of their logarithm, without the first third, in which what
  shrinks faster is still there.
  """
  energies = energies[energies > _LEAST_ENERGY]
  periods = np.arange(len(energies))[len(energies) // 3 :]
  slope, _ = np.polyfit(periods, np.log(energies[periods]), 1)
  return np.exp(slope / 2 / _PERIOD)


def _table(trials, title):
  alone, within = (
    [trial for trial in trials if trial.optimizer == name] for name in _NAMES
  )
  rows = []
  for one, other in zip(alone, within):
    row = {title: f"{one.condition_number:g}"}
    for name, trial in zip(_NAMES, (one, other)):
      if title == "kappa":
        row[f"{name}, learning rate"] = f"{trial.learning_rate:.4f}"
      row[f"{name}, measured"] = f"{trial.measured:.6f}"
      row[f"{name}, matrix"] = f"{trial.expected:.6f}"
    rows.append(row)
  return results.make_table(rows)


def _draw(alone, worst):
  figure, [[left, right]] = style.panels(columns=2, width=5.2, sharey=True)
  kappas = np.geomspace(1, 1e6, 2000)
  colors = style.OPTIMIZERS
  for name, rates in expected_rates(1 / kappas, _MOMENTUM).items():
    left.plot(kappas, 1 - rates, color=colors[name], label=f"{name}, theory")
  kappas = np.geomspace(1, 1e6, 60)
  for momentum, line in ((_MOMENTUM, "-"), (_OTHER_MOMENTUM, ":")):
    for name, best in best_learning_rates(kappas, momentum).items():
      rates = np.array([rate for _, rate, _ in best])
      right.plot(kappas, 1 - rates, line, color=colors[name])
    right.plot([], [], line, color=style.BLACK, label=f"momentum {momentum:g}")
  for axis, trials in ((left, alone), (right, worst)):
    for name, marker in zip(_NAMES, style.MARKERS):
      chosen = [trial for trial in trials if trial.optimizer == name]
      axis.plot(
        [trial.condition_number for trial in chosen],
        [1 - trial.measured for trial in chosen],
        marker,
        color=colors[name],
        label=f"{name}, measured",
      )
    axis.set(xscale="log", yscale="log")
  boundary = 1 / (1 - _MOMENTUM**0.5) ** 2
  left.axvspan(boundary, 1e6, color=style.GRAY, alpha=0.2, linewidth=0)
  for x, text in ((1e3, "under-damped"), (1e6, "over-damped ")):
    left.text(x, 0.2, text, ha="right", va="top")
  left.set_title("one direction, learning rate 1")
  left.set_xlabel("1 / curvature")
  left.set_ylabel("part of the distance lost in a step")
  right.set_title("slowest direction, best learning rate")
  right.set_xlabel("condition number")
  style.add_legend(figure)
  return figure


if __name__ == "__main__":
  results.run(main, is_random=False)
