"""The best step size of the slow weights, and the adaptive one.

python -m experiments.step_size --workdir=runs/step_size

Section 2.1 of the paper. On quadratics the step size after which the loss of
Lookahead is least stands beside that of Proposition 1. On scikit-learn's
handwritten digits a small network is trained with fixed step sizes and with
AdaptiveStepSize, which estimates the best one.
"""

import dataclasses
import statistics
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from absl import flags

from experiments import quadratics, results, style
from lookahead_tf import AdaptiveStepSize, Lookahead
from trainers import tracing
from trainers.image_classification import sources

# Quadratics of 20 directions: what SGD makes of them in one period.
_CURVATURES = np.geomspace(1.0, 0.01, 20)
_CASES = (
  (0.1, 0.0, 5),
  (1.0, 0.0, 5),
  (1.9, 0.0, 5),
  (0.1, 0.9, 20),
  (1.0, 0.9, 5),
  (1.0, 0.99, 10),
)  # Of (learning rate, momentum, k).
_STEP_SIZES = np.linspace(0.0, 1.0, 11)

# Networks that learn digits: the step sizes of Lookahead around Adam.
_RULES = {
  "alpha = 0.2": 0.2,
  "alpha = 0.5": 0.5,
  "alpha = 0.8": 0.8,
  "adaptive": AdaptiveStepSize(),
  "adaptive, at least 0.5": AdaptiveStepSize(lower=0.5),
}
_LEARNING_RATE = 0.01
_PERIOD = 5
_PERIODS = 80
_PERIODS_TO_EVALUATION = 4
_BATCH_SIZE = 64


@dataclasses.dataclass(frozen=True)
class Case:
  """A period of Lookahead on a quadratic.

  Attributes:
    learning_rate: gamma.
    momentum: beta.
    period: k.
    losses: After the period, of the loss before it: one for each _STEP_SIZES.
    measured: The step size of the least loss, by the losses.
    expected: That of Proposition 1.
  """

  learning_rate: float
  momentum: float
  period: int
  losses: np.ndarray
  measured: float
  expected: float

  @property
  def name(self) -> str:
    """What a figure calls it."""
    momentum = f", momentum {self.momentum:g}" if self.momentum else ""
    return f"rate {self.learning_rate:g}{momentum}, k = {self.period}"

  def loss_at(self, alpha: float) -> float:
    """Returns the loss after the period with any alpha, by the parabola."""
    return float(np.polyval(np.polyfit(_STEP_SIZES, self.losses, 2), alpha))


@dataclasses.dataclass(frozen=True)
class Run:
  """A network that was trained.

  Attributes:
    losses: Of all training examples, at the evaluations.
    accuracies: Of the validation examples, likewise, in percent.
    step_sizes: Of all synchronizations; empty without Lookahead.
  """

  losses: list[float]
  accuracies: list[float]
  step_sizes: list[float]


def define_flags(values: flags.FlagValues) -> None:
  """Defines --seeds."""
  flags.DEFINE_integer(
    "seeds",
    3,
    "Networks with each step size, of the seeds --seed, --seed + 1, ...",
    lower_bound=1,
    flag_values=values,
  )


def main(values: flags.FlagValues) -> None:
  """Measures as the flags say, then reports."""
  with results.writing(values.workdir, "step_size") as written:
    cases = [measure_case(*case, values.seed) for case in _CASES]
    written.save(_draw_cases(cases), "quadratic")
    digits = read_digits()
    runs = {
      name: [
        train(digits, rule, values.seed + i, _PERIODS)
        for i in range(values.seeds)
      ]
      for name, rule in {"Adam": None, **_RULES}.items()
    }
    written.save(_draw_runs(runs), "digits")
    deviation = max(abs(case.measured - case.expected) for case in cases)
    written.write(
      "# The step size of the slow weights",
      f"A quadratic of {len(_CURVATURES)} directions with curvatures from 1 "
      "to .01, after one period of Lookahead around SGD:",
      _case_table(cases),
      f"The greatest deviation is {deviation:.1e}.",
      "Handwritten digits: a network of 64 hidden units after "
      f"{_PERIODS * _PERIOD} updates by Adam at the learning rate "
      f"{_LEARNING_RATE:g}, batches of {_BATCH_SIZE}; Lookahead with k = "
      f"{_PERIOD}. Mean over {values.seeds} seeds, least to greatest; the "
      "accuracy is that of the slow weights.",
      _run_table(runs),
    )


def measure_case(
  learning_rate: float, momentum: float, period: int, seed: int
) -> Case:
  """Returns what a period of Lookahead makes of a quadratic.

  Args:
    learning_rate: gamma.
    momentum: beta.
    period: k.
    seed: Of the minimum and of the first weights.
  """
  rng = np.random.default_rng(seed)
  minimum, phi = rng.normal(size=(2, len(_CURVATURES)))

  def loss(x):
    return float((x - minimum) ** 2 @ _CURVATURES / 2)

  def after(alpha):
    x = keras.Variable(phi, dtype="float64")
    optimizer = Lookahead(
      keras.optimizers.SGD(learning_rate, momentum=momentum), period, alpha
    )
    for _ in range(period):
      optimizer.apply([(x - minimum) * _CURVATURES], [x])
    return np.asarray(x)

  weights = [after(alpha) for alpha in _STEP_SIZES]
  losses = np.array([loss(x) for x in weights]) / loss(phi)
  # The loss on a line is a parabola, also beyond the step sizes that may be.
  square, linear, _ = np.polyfit(_STEP_SIZES, losses, 2)
  return Case(
    learning_rate,
    momentum,
    period,
    losses,
    measured=-linear / square / 2,
    # alpha = 1 leaves the fast weights.
    expected=quadratics.best_step_size(
      _CURVATURES, minimum, phi, theta=weights[-1]
    ),
  )


def read_digits() -> list[tuple[np.ndarray, np.ndarray]]:
  """Returns scikit-learn's handwritten digits, to train on and to validate.

  Returns:
    Images of shape (1437, 64), from 0 to 1, and their labels; and 360 others.
  """
  source = sources.load("digits")
  digits = []
  for split in (source.train, source.validation):
    records = split.records(0, 1, None, 1).batch(split.size)
    images, labels = next(records.as_numpy_iterator())
    images = images.reshape(len(images), -1).astype("float32") / 255
    digits.append((images, labels))
  return digits


def train(
  digits: Sequence[tuple[np.ndarray, np.ndarray]],
  rule: float | AdaptiveStepSize | None,
  seed: int,
  periods: int,
) -> Run:
  """Trains a network.

  Args:
    digits: As `read_digits` returns them.
    rule: The step size of Lookahead, or None for its inner optimizer alone.
    seed: Of the first weights and of the batches.
    periods: How many to make.
  """
  (images, labels), (validation_images, validation_labels) = digits
  keras.utils.set_random_seed(seed)
  model = keras.Sequential(
    [
      keras.Input(images.shape[1:]),
      keras.layers.Dense(64, activation="relu"),
      keras.layers.Dense(10),
    ]
  )
  loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
  optimizer = keras.optimizers.Adam(_LEARNING_RATE)
  if rule is not None:
    optimizer = Lookahead(optimizer, _PERIOD, rule)
  optimizer.build(model.trainable_variables)

  @tf.function
  def make_period(images, labels):
    for i in tf.range(_PERIOD):
      with tf.GradientTape() as tape:
        value = loss(labels[i], model(images[i], training=True))
      gradients = tape.gradient(value, model.trainable_variables)
      optimizer.apply(gradients, model.trainable_variables)

  make_period = tracing.concrete(make_period)
  run = Run([], [], [])
  rng = np.random.default_rng(seed)
  for period in range(periods):
    # Without replacement within a period.
    chosen = rng.permutation(len(images))[: _PERIOD * _BATCH_SIZE]
    chosen = chosen.reshape(_PERIOD, _BATCH_SIZE)
    make_period(tf.constant(images[chosen]), tf.constant(labels[chosen]))
    if rule is not None:
      run.step_sizes.append(optimizer.slow_step_size)
    if (period + 1) % _PERIODS_TO_EVALUATION == 0:
      # Between two periods the weights are the slow weights.
      run.losses.append(float(loss(labels, model(images))))
      logits = model(validation_images)
      correct = np.argmax(logits, axis=-1) == validation_labels
      run.accuracies.append(100 * float(np.mean(correct)))
  return run


def _case_table(cases):
  return results.make_table(
    [
      {
        "learning rate": f"{case.learning_rate:g}",
        "momentum": f"{case.momentum:g}",
        "k": f"{case.period}",
        "best alpha, measured": f"{case.measured:.6f}",
        "Proposition 1": f"{case.expected:.6f}",
        "loss with it": f"{case.loss_at(case.expected):.4f}",
        "with alpha = 0.5": f"{case.loss_at(0.5):.4f}",
        "with alpha = 1": f"{case.loss_at(1.0):.4f}",
      }
      for case in cases
    ]
  )


def _run_table(runs):
  def describe(values, digits):
    mean = statistics.mean(values)
    ends = f"{min(values):.{digits}f} to {max(values):.{digits}f}"
    return f"{mean:.{digits}f} ({ends})"

  return results.make_table(
    [
      {
        "step size": name,
        "training loss": describe([run.losses[-1] for run in of_rule], 4),
        "validation accuracy, %": describe(
          [run.accuracies[-1] for run in of_rule], 2
        ),
        "mean alpha": (
          f"{statistics.mean(a for run in of_rule for a in run.step_sizes):.2f}"
          if of_rule[0].step_sizes
          else ""
        ),
      }
      for name, of_rule in runs.items()
    ]
  )


def _draw_cases(cases):
  figure, axes = style.panels(
    rows=2, columns=3, width=3.5, height=2.7, sharex=True
  )
  alphas = np.linspace(0.0, 2.0, 101)
  for axis, case in zip(axes.flat, cases):
    axis.plot(
      alphas,
      [case.loss_at(alpha) for alpha in alphas],
      "--",
      color=style.GRAY,
      label="the parabola beyond",
    )
    axis.plot(
      _STEP_SIZES,
      case.losses,
      "o",
      color=style.OPTIMIZERS["Lookahead (SGD)"],
      label="Lookahead (SGD), measured",
    )
    if case.expected < alphas[-1]:
      axis.axvline(
        case.expected, color=style.BLACK, ls=":", label="Proposition 1"
      )
    axis.set_title(f"{case.name}:\nbest alpha {case.expected:.2f}", fontsize=11)
    axis.set_ylim(0, 1.6)
  for axis in axes[-1]:
    axis.set_xlabel("alpha")
  for axis in axes[:, 0]:
    axis.set_ylabel("loss / loss before")
  style.add_legend(figure)
  return figure


def _draw_runs(runs):
  figure, [[left, middle, right]] = style.panels(columns=3, width=4.0)
  labels = {
    name: name if name == "Adam" else f"Lookahead (Adam), {name}"
    for name in runs
  }
  # The colour of Lookahead is that of its default.
  colors = style.colors([labels["alpha = 0.5"], *labels.values()])
  updates = _PERIOD * _PERIODS_TO_EVALUATION
  for name, of_rule in runs.items():
    look = {"label": labels[name], "color": colors[labels[name]]}
    for axis, values in (
      (left, [run.losses for run in of_rule]),
      (middle, [run.accuracies for run in of_rule]),
    ):
      x = updates * np.arange(1, 1 + len(values[0]))
      style.draw_band(axis, x, list(zip(*values)), **look)
    if isinstance(_RULES.get(name), AdaptiveStepSize):
      alphas = [alpha for run in of_rule for alpha in run.step_sizes]
      right.hist(
        alphas,
        np.linspace(0, 1, 21),
        weights=np.full(len(alphas), 100 / len(alphas)),
        color=look["color"],
        histtype="step",
        linewidth=2,
      )
  left.set(ylabel="training loss", yscale="log")
  middle.set(ylabel="validation accuracy, %", ylim=(90, 100))
  right.set(ylabel="synchronizations, %", xlabel="alpha")
  for axis in (left, middle):
    axis.set_xlabel("updates")
  style.add_legend(figure)
  return figure


if __name__ == "__main__":
  results.run(main, define_flags)
