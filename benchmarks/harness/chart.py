"""Charts of ratios and of speeds."""

import dataclasses
import statistics
import textwrap
from collections.abc import Collection, Mapping, Sequence

import matplotlib

from benchmarks.harness.interleaving import Ratio
from experiments import style

_WIDTH = 6.0  # Inches: panels are one above the other, as a phone needs them.
_BOUND_STYLES = ("--", ":")


@dataclasses.dataclass(frozen=True)
class Group:
  """Ratios with the same marker.

  Attributes:
    label: Name of the group in the legend, such as "k = 5".
    ratios: Ratios by the names of their rows.
    bounds: Values to compare the ratios with, by their names in the legend.
  """

  label: str
  ratios: Mapping[str, Ratio]
  bounds: Mapping[str, float]


def draw_ratios(
  panels: Mapping[str, Sequence[Group]],
  path: str,
  label: str,
  least_top: float,
) -> None:
  """Draws ratios as markers, with whiskers, beside 1 and beside bounds.

  A marker is a median, its whisker the 95 % interval of the median. A panel has
  a row for each name of a ratio, with a marker for each group.

  Args:
    panels: Groups by the title of their panel.
    path: File to write, a PNG.
    label: Label of the horizontal axis.
    least_top: The axis ends there or, if a median of the first two names is
      greater, behind that one. A median beyond the end is written there, with
      an arrow. All medians below 1 fit, but long whiskers may not, on either
      side.
  """
  groups = [group for panel in panels.values() for group in panel]
  names = list(dict.fromkeys(name for group in groups for name in group.ratios))
  labels = list(dict.fromkeys(group.label for group in groups))
  bounds = list(
    dict.fromkeys(name for group in groups for name in group.bounds)
  )
  heights = [
    ratio.median
    for group in groups
    for name, ratio in group.ratios.items()
    if name in names[:2]
  ]
  top = 1 + 1.15 * (max([least_top, *heights]) - 1)
  ratios = [ratio for group in groups for ratio in group.ratios.values()]
  depth = 1 - min(ratio.median for ratio in ratios)
  whiskers = 1.05 - 1.05 * min(ratio.low for ratio in ratios)
  below = min(top - 1, max(0.1 * (top - 1), whiskers))
  bottom = 1 - max(below, 1.5 * depth)
  rows = {
    title: [name for name in names if any(name in g.ratios for g in panel)]
    for title, panel in panels.items()
  }
  markers = max(2, len(labels))  # The label of a row may have two lines.
  heights = [1.5 + len(shown) * markers for shown in rows.values()]
  figure, axes = style.plt.subplots(
    len(panels),
    figsize=(_WIDTH, 0.17 * sum(heights) + 0.5 * len(panels) + 0.9),
    sharex=True,
    squeeze=False,
    height_ratios=heights,
  )
  for axis, (title, panel) in zip(axes.flat, panels.items()):
    for group in panel:
      _draw_group(axis, group, rows[title], labels, top)
    _draw_bounds(axis, panel, labels, bounds)
    axis.set_title(title)
    names = [textwrap.fill(name, 20) for name in rows[title]]
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.set_xlim(bottom, top)
    axis.tick_params(labelbottom=True)
    axis.grid(visible=False, axis="y")
    axis.axvline(1, color="black", linewidth=0.8)
  axes[-1, 0].set_xlabel(label)
  _draw_legend(figure, labels, bounds)
  style.save(figure, path)


def _marker(i):
  """Returns how the markers of group i are drawn."""
  return {
    "color": style.PALETTE[i % len(style.PALETTE)],
    "marker": style.MARKERS[i % len(style.MARKERS)],
  }


def _draw_group(axis, group, rows, labels, top):
  i = labels.index(group.label)
  marker = _marker(i)
  offset = 0.7 * ((i + 0.5) / len(labels) - 0.5)
  for name, ratio in group.ratios.items():
    y = rows.index(name) + offset
    color = marker["color"]
    axis.plot([ratio.low, ratio.high], [y, y], color=color, linewidth=1.2)
    if ratio.median <= top:
      axis.plot(ratio.median, y, markersize=6, **marker)
      continue
    axis.text(
      top,
      y,
      f"{ratio.median:.2f} →",
      ha="right",
      va="center",
      fontsize=10,
      color=color,
      bbox={"color": "white", "pad": 0.5},
    )


def _draw_bounds(axis, panel, labels, bounds):
  """Draws each bound once: gray where all groups of the panel have it."""
  for dashes, name in zip(_BOUND_STYLES, bounds):
    values = [group.bounds[name] for group in panel if name in group.bounds]
    for group in panel:
      if name in group.bounds:
        color = _marker(labels.index(group.label))["color"]
        axis.axvline(
          group.bounds[name],
          color=color if len(set(values)) > 1 else style.GRAY,
          ls=dashes,
          lw=1,
          zorder=0,
        )


def _draw_legend(figure, labels, bounds):
  line = matplotlib.lines.Line2D
  handles = [
    line([], [], linestyle="", markersize=6, label=label, **_marker(i))
    for i, label in enumerate(labels)
  ]
  handles += [
    line([], [], color=style.GRAY, ls=dashes, lw=1, label=name)
    for dashes, name in zip(_BOUND_STYLES, bounds)
  ]
  figure.legend(handles=handles, loc="outside lower center", ncols=2)


def draw_speeds(
  panels: Mapping[str, Mapping[str, Sequence[float]]],
  path: str,
  others: Collection[str] = (),
) -> None:
  """Draws a bar for the median speed of each variant, and a dot for each round.

  Panels are one above the other.

  Args:
    panels: By the title of a panel, which says what its speeds count, such as
      "images": for each variant the seconds of one unit, one a round.
    path: File to write, a PNG.
    others: Variants to be drawn in gray, such as those of other libraries.
  """
  bars = [len(seconds) for seconds in panels.values()]
  figure, axes = style.plt.subplots(
    len(panels),
    figsize=(_WIDTH, 0.33 * sum(bars) + 1.1 * len(panels)),
    squeeze=False,
    height_ratios=[1 + count for count in bars],
  )
  for axis, (title, seconds) in zip(axes.flat, panels.items()):
    for y, (name, values) in enumerate(seconds.items()):
      speeds = [1 / value for value in values]
      color = style.GRAY if name in others else style.BLUE
      axis.barh(y, statistics.median(speeds), color=color, alpha=0.6)
      axis.plot(speeds, [y] * len(speeds), "o", color=color, markersize=3)
    axis.invert_yaxis()
    axis.set_yticks(
      range(len(seconds)), [textwrap.fill(name, 24) for name in seconds]
    )
    axis.set_title(textwrap.fill(title, 45))
    axis.set_xlabel("per second (dots: rounds)")
    axis.grid(visible=False, axis="y")
  style.save(figure, path)
