"""Lookahead on the noisy quadratic: its variance, and its loss after T steps.

python -m experiments.noisy_quadratic --workdir=runs/noisy_quadratic

Section 3.1 of the paper. SGD and Lookahead around it train many independent
copies of a noisy quadratic. Once they are stationary, their variance stands
beside that of Proposition 2; and on a quadratic with several curvatures the
loss after T steps stands beside the expected one.
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

# Of the stationary variance, on a curvature of 1: only gamma a matters.
_LEARNING_RATES = (0.1, 0.2, 0.5, 1.0, 1.5)
_PERIODS = (5, 10, 20)
_STEP_SIZES = (0.2, 0.5, 0.8)
# Training goes on until the variance is that close to the stationary one.
_CLOSENESS = 1e-4

# Of the loss after T steps. The variance of the gradient is the curvature in
# each direction, as where the loss is a likelihood: sigma^2 = 1 / a.
_STEPS = 500
_PERIOD = 5
_CURVATURES = np.geomspace(1.0, 0.01, 10)
_LOSS_LEARNING_RATES = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)


@dataclasses.dataclass(frozen=True)
class Trial:
  """An optimizer, with a measured and an expected variance or loss.

  Attributes:
    learning_rate: gamma.
    period: k; None for SGD alone.
    step_size: alpha; 1 for SGD alone.
    measured: Value measured with the optimizer itself.
    expected: Value of the closed form.
  """

  learning_rate: float
  period: int | None
  step_size: float
  measured: float
  expected: float

  @property
  def deviation(self) -> float:
    """Relative deviation of the measured value from the expected one."""
    return self.measured / self.expected - 1


def define_flags(values: flags.FlagValues) -> None:
  """Defines --copies."""
  flags.DEFINE_integer(
    "copies",
    200_000,
    "Independent copies of the noisy quadratic. The standard error of a "
    "measured variance is sqrt(2 / copies) of it.",
    lower_bound=2,
    upper_bound=10_000_000,
    flag_values=values,
  )


def main(values: flags.FlagValues) -> None:
  """Measures as the flags say, then reports."""
  with results.writing(values.workdir, "noisy_quadratic") as written:
    variances = measure_variances(
      _LEARNING_RATES, _PERIODS, _STEP_SIZES, values.copies, values.seed
    )
    written.save(_draw_variances(variances), "variance")
    # As much work: there are several directions.
    copies = max(2, values.copies // len(_CURVATURES))
    losses = measure_losses(
      _LOSS_LEARNING_RATES, _STEP_SIZES, copies, values.seed
    )
    written.save(_draw_losses(losses), "loss")
    written.write(
      "# Lookahead on the noisy quadratic",
      f"Stationary variance of the slow weights, {values.copies:,} copies, "
      "curvature 1, noise of variance 1. The standard error of a measured "
      f"variance is {100 * np.sqrt(2 / values.copies):.2f} % of it.",
      _variance_table(variances),
      f"The greatest deviation is {_greatest(variances):.2f} %.",
      f"Loss above the least expected one after {_STEPS} steps, "
      f"{len(_CURVATURES)} directions with curvatures from 1 to .01, "
      f"{copies:,} copies; Lookahead with k = {_PERIOD}.",
      _loss_table(losses),
      f"The greatest deviation is {_greatest(losses):.2f} %.",
    )


def measure_variances(
  learning_rates: Sequence[float],
  periods: Sequence[int],
  step_sizes: Sequence[float],
  copies: int,
  seed: int,
) -> list[Trial]:
  """Returns the stationary variances of SGD and of Lookahead around it.

  Args:
    learning_rates: gamma, each less than 2.
    periods: k.
    step_sizes: alpha.
    copies: Independent copies of the quadratic.
    seed: Of the noise.

  Returns:
    A trial for each learning rate with SGD, then one for each combination with
    Lookahead. In each period all trials have the same noise.
  """
  trials = []
  for period in (None, *periods):
    chosen = [
      (gamma, alpha)
      for gamma in learning_rates
      for alpha in ([1.0] if period is None else step_sizes)
    ]
    # The part that is left of the first variance shrinks by this factor.
    slowest = max(
      quadratics.mean_factor(gamma, period or 1, alpha) ** 2
      for gamma, alpha in chosen
    )
    count = int(np.ceil(np.log(_CLOSENESS) / np.log(slowest)))
    weights = _train(
      [_make_optimizer(gamma, period, alpha) for gamma, alpha in chosen],
      count * (period or 1),
      start=np.zeros(copies, "float32"),
      curvatures=np.float32(1.0),
      deviations=np.float32(1.0),
      seed=seed,
    )
    trials += [
      Trial(
        gamma,
        period,
        alpha,
        float(np.var(x, dtype="float64")),
        float(quadratics.lookahead_variance(gamma, period or 1, alpha)),
      )
      for (gamma, alpha), x in zip(chosen, weights)
    ]
  return trials


def measure_losses(
  learning_rates: Sequence[float],
  step_sizes: Sequence[float],
  copies: int,
  seed: int,
) -> list[Trial]:
  """Returns the losses after the steps of SGD and of Lookahead around it.

  Args:
    learning_rates: gamma, each less than 2.
    step_sizes: alpha.
    copies: Independent copies of all directions.
    seed: Of the noise.
  """
  chosen = [(gamma, None, 1.0) for gamma in learning_rates]
  chosen += [
    (gamma, _PERIOD, alpha) for alpha in step_sizes for gamma in learning_rates
  ]
  curvatures = _CURVATURES.astype("float32")
  weights = _train(
    [_make_optimizer(*one) for one in chosen],
    _STEPS,
    start=np.ones((copies, len(curvatures)), "float32"),
    curvatures=curvatures,
    deviations=curvatures**-0.5,
    seed=seed,
  )
  return [
    Trial(
      gamma,
      period,
      alpha,
      float(np.mean(x.astype("float64") ** 2 @ _CURVATURES) / 2),
      float(_expected_loss(gamma, alpha)),
    )
    for (gamma, period, alpha), x in zip(chosen, weights)
  ]


def _expected_loss(gamma, alpha):
  return quadratics.expected_excess_loss(
    gamma, _PERIOD, alpha, _STEPS // _PERIOD, _CURVATURES, 1 / _CURVATURES
  )


def _make_optimizer(gamma, period, alpha):
  sgd = keras.optimizers.SGD(gamma)
  return sgd if period is None else Lookahead(sgd, period, alpha)


def _train(optimizers, steps, start, curvatures, deviations, seed):
  """Trains copies of a noisy quadratic around 0 by each of the optimizers.

  Args:
    optimizers: New ones. In each step all have the same noise.
    steps: How many, a multiple of the periods.
    start: The first weights, of shape (copies,) or (copies, directions).
    curvatures: Of the directions.
    deviations: Standard deviations of the minimum.
    seed: Of the noise.

  Returns:
    The slow weights of each optimizer, of the shape of `start`.
  """
  weights = [keras.Variable(start) for _ in optimizers]
  for optimizer, x in zip(optimizers, weights):
    optimizer.build([x])

  @tf.function
  def train():
    for step in tf.range(steps):
      noise = tf.random.stateless_normal(start.shape, [seed, step])
      minimum = deviations * noise
      for optimizer, x in zip(optimizers, weights):
        optimizer.apply([curvatures * (x - minimum)], [x])

  tracing.concrete(train)()
  return [np.asarray(x) for x in weights]


def _greatest(trials):
  """Returns the greatest deviation, in percent."""
  return 100 * max(abs(trial.deviation) for trial in trials)


def _variance_table(trials):
  sgd = {t.learning_rate: t for t in trials if t.period is None}
  return results.make_table(
    [
      {
        "learning rate": f"{trial.learning_rate:g}",
        "k": "SGD" if trial.period is None else f"{trial.period}",
        "alpha": "" if trial.period is None else f"{trial.step_size:g}",
        "measured": f"{trial.measured:.5f}",
        "Proposition 2": f"{trial.expected:.5f}",
        "deviation": f"{100 * trial.deviation:+.2f} %",
        "of SGD's": (
          f"{trial.measured / sgd[trial.learning_rate].measured:.3f}"
        ),
      }
      for trial in trials
    ]
  )


def _loss_table(trials):
  return results.make_table(
    [
      {
        "learning rate": f"{trial.learning_rate:g}",
        "alpha": "SGD" if trial.period is None else f"{trial.step_size:g}",
        "measured": f"{trial.measured:.4f}",
        "expected": f"{trial.expected:.4f}",
        "deviation": f"{100 * trial.deviation:+.2f} %",
      }
      for trial in trials
    ]
  )


def _looks():
  """Returns for each alpha the label, the colour and the marker of its line."""
  names = {1.0: "SGD"} | {
    alpha: f"Lookahead (SGD), alpha = {alpha:g}"
    for alpha in sorted(_STEP_SIZES, reverse=True)
  }
  colors = style.colors(names.values())
  return {
    alpha: ({"label": name, "color": colors[name]}, marker)
    for (alpha, name), marker in zip(names.items(), style.MARKERS)
  }


def _mark(axis, trials, value):
  """Draws a marker of its alpha's look for each trial.

  Args:
    axis: To draw in, over the learning rate.
    trials: To be marked.
    value: A function of a trial.
  """
  for alpha, (look, marker) in _looks().items():
    chosen = [trial for trial in trials if trial.step_size == alpha]
    rates = [trial.learning_rate for trial in chosen]
    axis.plot(rates, [*map(value, chosen)], marker, color=look["color"])
  axis.plot([], [], "ok", label="markers: measured")
  ticks = sorted({trial.learning_rate for trial in trials})
  axis.set(xscale="log", xlabel="learning rate")
  axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
  axis.xaxis.minorticks_off()


def _draw_variances(trials):
  figure, [[left, right]] = style.panels(columns=2, width=5.0)
  sgd = {t.learning_rate: t.measured for t in trials if t.period is None}
  rates = np.geomspace(0.08, 1.7, 100)
  for alpha, (look, _) in _looks().items():
    variances = quadratics.lookahead_variance(rates, _PERIODS[0], alpha)
    left.plot(rates, variances, **look)
    for period, line in zip(_PERIODS, style.LINE_STYLES):
      variances = quadratics.lookahead_variance(rates, period, alpha)
      parts = variances / quadratics.sgd_variance(rates)
      right.plot(rates, parts, line, color=look["color"])
  for period, line in zip(_PERIODS, style.LINE_STYLES):
    right.plot([], [], line, color=style.BLACK, label=f"k = {period}")
  of_first = [t for t in trials if t.period in (None, _PERIODS[0])]
  _mark(left, of_first, lambda trial: trial.measured)
  _mark(right, trials, lambda t: t.measured / sgd[t.learning_rate])
  left.set(yscale="log", ylabel="stationary variance")
  left.set_title(f"k = {_PERIODS[0]}")
  right.set(ylabel="variance / SGD's variance", ylim=(0, 1.08))
  style.add_legend(figure)
  return figure


def _draw_losses(trials):
  figure, [[left, right]] = style.panels(columns=2, width=5.4, height=4.0)
  for alpha, (look, _) in _looks().items():
    rates = np.geomspace(0.015, 1.8, 100)
    left.plot(rates, [_expected_loss(rate, alpha) for rate in rates], **look)
  _mark(left, trials, lambda trial: trial.measured)
  label = f"excess loss after {_STEPS} steps"
  left.set(yscale="log", ylabel=label)
  left.set_title(f"k = {_PERIOD}")
  rates, alphas = _LOSS_LEARNING_RATES, np.linspace(0.1, 1.0, 10)
  style.draw_heat_maps(
    [right],
    {
      f"expected, k = {_PERIOD}": [
        [_expected_loss(rate, alpha) for rate in rates] for alpha in alphas
      ]
    },
    ("learning rate", [f"{rate:g}" for rate in rates]),
    ("alpha (1: SGD)", [f"{alpha:.1f}" for alpha in alphas]),
    label,
    text="{:.3f}",
    log=True,
  )
  style.add_legend(figure)
  return figure


if __name__ == "__main__":
  results.run(main, define_flags)
