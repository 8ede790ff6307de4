"""Draws one period of Lookahead in weight space, as figure 1 of the paper.

python -m experiments.weight_space --workdir=runs/weight_space

A small convolutional network is trained on digits. The plane goes through
the first, the middle and the last fast weights of one period, and so has the
slow step in it, which is on the line from the first to the last. Accuracy and
loss of held-out digits are evaluated at points all over the plane.
"""

from typing import NamedTuple

import numpy as np
from absl import flags
from matplotlib import ticker

from experiments import results, small_network, style
from trainers.errors import UserError

_POINTS = 33  # Along each side of the map.
_MARGIN = 0.35  # Around the path, a part of its greater extent.


class Plane(NamedTuple):
  """A plane in weight space.

  Attributes:
    origin: A point of the plane, of shape (weights,).
    basis: Two orthogonal vectors of length 1, of shape (2, weights).
  """

  origin: np.ndarray
  basis: np.ndarray

  def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns where points lie in the plane, and how far they are from it.

    Args:
      points: Of shape (n, weights).

    Returns:
      Coordinates of the closest points of the plane, of shape (n, 2), and
      distances from the plane, of shape (n,), both in units of the weights.
    """
    relative = points - self.origin
    coordinates = relative @ self.basis.T
    rest = relative - coordinates @ self.basis
    return coordinates, np.linalg.norm(rest, axis=-1)

  def point(self, x: float, y: float) -> np.ndarray:
    """Returns the weights at the coordinates x and y, of shape (weights,)."""
    return self.origin + x * self.basis[0] + y * self.basis[1]


def make_plane(
  first: np.ndarray, second: np.ndarray, third: np.ndarray
) -> Plane:
  """Returns the plane through three points.

  The first point is the origin, the second lies on the x axis: of u = second -
  first and v = third - first, the basis is u / |u| and what v has beside u,
  (v - (v.u / u.u) u), over its length (Garipov et al. 2018, section A.1).

  Args:
    first: Of shape (weights,).
    second: Likewise.
    third: Likewise.

  Raises:
    UserError: if the three are on a line.
  """
  x = second - first
  length = np.linalg.norm(x)
  x = x / length if length else x
  y = third - first
  beside = y - (y @ x) * x
  height = np.linalg.norm(beside)
  if not length or height <= 1e-9 * np.linalg.norm(y):
    raise UserError(
      "the three fast weights are on a line, through which there are many "
      "planes: give a greater --learning_rate."
    )
  return Plane(first, np.stack([x, beside / height]))


def define_flags(values: flags.FlagValues) -> None:
  """Defines the flags of this program."""
  small_network.define_flags(values, sync_period=10, least_sync_period=2)
  flags.DEFINE_integer(
    "periods_before",
    16,
    "How many periods to train before the one that is drawn.",
    lower_bound=0,
    flag_values=values,
  )


def main(values: flags.FlagValues) -> None:
  """Trains as the flags say, and draws one period."""
  with results.writing(values.workdir, "weight_space") as written:
    training = small_network.from_flags(values, values.seed)
    training.steps(values.periods_before * values.sync_period)
    period = training.period()
    middle = period.fast[values.sync_period // 2]
    plane = make_plane(period.fast[0], period.fast[-1], middle)
    written.save(_draw(training, plane, period), "plane")
    written.write(*_report(training, plane, period, values))


def _draw(training, plane, period):
  """Returns the figure: the accuracy and the loss of the plane."""
  path, distances = plane.project(period.fast)
  (slow,), _ = plane.project(period.slow[np.newaxis])
  x, y = _axes(path)
  grid = [[training.evaluate(plane.point(a, b)) for a in x] for b in y]
  width, height = np.ptp(x), np.ptp(y)
  figure, axes = style.panels(1, 2, 5.6, max(3.4, 1.6 + 4.4 * height / width))
  on_path = [training.evaluate(point) for point in period.fast]
  for axis, field, best, worst, label in (
    (axes[0, 0], "accuracy", max, min, "held-out accuracy, %"),
    (axes[0, 1], "loss", min, max, "held-out loss, nats"),
  ):
    table = [[getattr(point, field) for point in row] for row in grid]
    # Beyond the path the map may be so bad that nothing else could be seen.
    top = best(value for row in table for value in row)
    end = worst(getattr(point, field) for point in on_path)
    _draw_map(axis, x, y, table, (2 * end - top, top), label)
    _draw_period(axis, path, distances, slow)
    axis.set(
      xlabel="towards the last fast weights\n(distance in weight space)",
      aspect="equal",
    )
  axes[0, 0].set_ylabel("distance in weight space")
  style.add_legend(figure, columns=3)
  return figure


def _axes(path):
  """Returns the x and the y of the map's points, one distance apart."""
  low, high = path.min(axis=0), path.max(axis=0)
  margin = _MARGIN * (high - low).max()
  step = ((high - low).max() + 2 * margin) / (_POINTS - 1)
  return [
    np.arange(low[i] - margin, high[i] + margin + step / 2, step)
    for i in range(2)
  ]


def _draw_map(axis, x, y, table, ends, label):
  """Draws a table in colours, which reach from the worst to the best end."""
  worst, best = ends
  levels = ticker.MaxNLocator(14).tick_values(min(ends), max(ends))
  filled = axis.contourf(
    x,
    y,
    table,
    levels,
    extend="min" if worst < best else "max",
    cmap="viridis" if worst < best else "viridis_r",
  )
  axis.contour(x, y, table, levels, colors="white", linewidths=0.3)
  axis.grid(visible=False)
  axis.figure.colorbar(filled, ax=axis, label=label, shrink=0.9)


def _draw_period(axis, path, distances, slow):
  """Draws the fast weights, the slow step, and the ends of both."""
  axis.plot(*path.T, "--", color="black", linewidth=1.5, label="fast path")
  is_on = distances <= 1e-6 * np.ptp(path)
  common = {"linestyle": "none", "marker": "o", "markersize": 6, "zorder": 3}
  axis.plot(
    *path[is_on].T,
    **common,
    color="black",
    label="fast weights on the plane",
  )
  axis.plot(
    *path[~is_on].T,
    **common,
    markerfacecolor="white",
    markeredgecolor="black",
    label="fast weights beside it, projected",
  )
  axis.plot(
    *np.stack([path[0], slow]).T,
    color=style.VERMILION,
    linewidth=3,
    label="slow step",
  )
  for point, marker, label in (
    (path[0], "s", "slow weights before"),
    (slow, "*", "slow weights after"),
  ):
    axis.plot(
      *point,
      linestyle="none",
      marker=marker,
      markersize=16 if marker == "*" else 10,
      markerfacecolor=style.VERMILION,
      markeredgecolor="white",
      zorder=4,
      label=label,
    )


def _report(training, plane, period, values):
  """Returns the paragraphs of results.md."""
  points = np.concatenate([period.fast, period.slow[np.newaxis]])
  coordinates, distances = plane.project(points)
  names = [f"theta_{i}" for i in range(len(period.fast))] + ["phi after"]
  names[0] += ", phi before"
  rows = []
  for name, point, (x, y), distance in zip(
    names, points, coordinates, distances
  ):
    loss, accuracy = training.evaluate(point)
    rows.append(
      {
        "weights": name,
        "x": f"{x:.3f}",
        "y": f"{y:.3f}",
        "distance from the plane": f"{distance:.3f}",
        "accuracy": f"{accuracy:.2f} %",
        "loss": f"{loss:.4f}",
      }
    )
  first = values.periods_before * values.sync_period
  return (
    "# One period of Lookahead in weight space",
    f"{small_network.DESCRIPTION} SGD with momentum {values.momentum:g} at the "
    f"learning rate {values.learning_rate:g} within Lookahead, k = "
    f"{values.sync_period} and alpha = {values.slow_step_size:g}, seed "
    f"{values.seed}: the period of the updates {first + 1} to "
    f"{first + values.sync_period}.",
    "The plane goes through theta_0, the middle of the fast weights and the "
    "last of them. Accuracy and loss in this table are those of the weights "
    "themselves, not of their projections.",
    results.make_table(rows),
  )


if __name__ == "__main__":
  results.run(main, define_flags)
