"""Charts of ratios and of speeds."""

import dataclasses
import statistics
import textwrap
from collections.abc import Collection, Mapping, Sequence

import matplotlib

from benchmarks.harness.interleaving import Ratio
from experiments import style

_LINE_STYLES = ("--", ":")


@dataclasses.dataclass(frozen=True)
class Group:
  """Bars of ratios side by side.

  Attributes:
    label: Text below the bars.
    bars: Ratios by their names in the legend.
    lines: Values to compare the ratios with, by their names in the legend.
  """

  label: str
  bars: Mapping[str, Ratio]
  lines: Mapping[str, float]


def draw_ratios(
  panels: Mapping[str, Sequence[Group]],
  path: str,
  label: str,
  least_top: float,
) -> None:
  """Draws bars from 1, with whiskers and with lines for bounds.

  A bar is a median, its whisker the 95 % interval of the median. Panels are
  side by side, in rows of two.

  Args:
    panels: Groups by the title of their panel.
    path: File to write, a PNG.
    label: Label of the vertical axis.
    least_top: The axis ends there or, if a bar of the first two names is
      higher, above that bar. A bar that does not fit is cut off, with an arrow.
      All bars below 1 fit, but long whiskers may not.
  """
  groups = [group for panel in panels.values() for group in panel]
  names = list(dict.fromkeys(name for group in groups for name in group.bars))
  lines = list(dict.fromkeys(name for group in groups for name in group.lines))
  heights = [
    ratio.median
    for group in groups
    for name, ratio in group.bars.items()
    if name in names[:2]
  ]
  top = 1 + 1.15 * (max([least_top, *heights]) - 1)
  depth = 1 - min(ratio.median for g in groups for ratio in g.bars.values())
  bottom = 1 - 1.5 * max(0.25 * (top - 1), depth)
  columns = min(2, len(panels))
  rows = -(-len(panels) // columns)
  figure, axes = style.plt.subplots(
    rows,
    columns,
    figsize=(max(8, 5.5 * columns), 3.2 * rows + 0.6),
    sharey=True,
    squeeze=False,
  )
  for axis in axes.flat[len(panels) :]:
    axis.set_visible(False)
  for axis, (title, panel) in zip(axes.flat, panels.items()):
    for position, group in enumerate(panel):
      _draw_group(axis, position, group, names, lines, top)
    axis.set_title(title, fontsize=10)
    axis.set_xticks(range(len(panel)), [group.label for group in panel])
    axis.set_ylim(bottom, top)
    axis.axhline(1, color="black", linewidth=0.8)
    axis.spines[["top", "right"]].set_visible(False)
  for row in axes:
    row[0].set_ylabel(label)
  _draw_legend(figure, names, lines)
  style.save(figure, path)


def _draw_group(axis, position, group, names, lines, top):
  width = 0.8 / len(names)
  for i, name in enumerate(names):
    if name not in group.bars:
      continue
    ratio = group.bars[name]
    x = position - 0.4 + (i + 0.5) * width
    axis.bar(x, ratio.median - 1, 0.9 * width, bottom=1, color=f"C{i}")
    axis.plot([x, x], [ratio.low, ratio.high], color="0.3", linewidth=1)
    end = max(1, ratio.high)
    fits = end < 1 + 0.85 * (top - 1)
    axis.annotate(
      f"{ratio.median:.3f}" + " ↑" * (ratio.median > top),
      (x, end if fits else top),
      xytext=(0, 2 if fits else -2),
      textcoords="offset points",
      ha="center",
      va="bottom" if fits else "top",
      rotation=90 if len(names) > 3 else 0,
      fontsize=8,
      bbox={"color": "white", "alpha": 0.7, "pad": 0.5},
    )
  for line, name in zip(_LINE_STYLES, lines):
    if name in group.lines:
      value = group.lines[name]
      axis.hlines(
        value, position - 0.45, position + 0.45, color="black", ls=line, lw=1
      )


def _draw_legend(figure, names, lines):
  handles = [
    matplotlib.patches.Patch(color=f"C{i}", label=name)
    for i, name in enumerate(names)
  ]
  handles += [
    matplotlib.lines.Line2D([], [], color="black", ls=line, lw=1, label=name)
    for line, name in zip(_LINE_STYLES, lines)
  ]
  figure.legend(
    handles=handles,
    loc="outside lower center",
    ncols=min(3, len(handles)),
    fontsize=8,
    frameon=False,
  )


def draw_speeds(
  panels: Mapping[str, Mapping[str, Sequence[float]]],
  path: str,
  others: Collection[str] = (),
) -> None:
  """Draws a bar for the median speed of each variant, and a dot for each round.

  Args:
    panels: By the title of a panel, which says what its speeds count, such as
      "images": for each variant the seconds of one unit, one a round.
    path: File to write, a PNG.
    others: Variants to be drawn in gray, such as those of other libraries.
  """
  columns = min(3, len(panels))
  rows = -(-len(panels) // columns)
  figure, axes = style.plt.subplots(
    rows,
    columns,
    figsize=(max(6, 4.6 * columns), 2.8 * rows),
    squeeze=False,
  )
  for axis in axes.flat[len(panels) :]:
    axis.set_visible(False)
  for axis, (title, seconds) in zip(axes.flat, panels.items()):
    for name, values in seconds.items():
      speeds = [1 / value for value in values]
      color = style.GRAY if name in others else style.BLUE
      axis.barh(name, statistics.median(speeds), color=color, alpha=0.6)
      axis.plot(speeds, [name] * len(speeds), "o", color=color, markersize=3)
    axis.invert_yaxis()
    axis.set_title(textwrap.fill(title, 45), fontsize=10)
    axis.set_xlabel("per second (dots: rounds)")
    axis.spines[["top", "right"]].set_visible(False)
  style.save(figure, path)
