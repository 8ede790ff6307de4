"""How all figures look: colours, sizes, legends, heat maps, and their files.

The colours are those of Okabe and Ito, which people with any of the common
kinds of colour blindness can tell apart (https://jfly.uni-koeln.de/color). An
optimizer has the same colour in every figure.
"""

import io
from collections.abc import Iterable, Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trainers import files

matplotlib.use("Agg")  # There may be no screen.
from matplotlib import pyplot as plt

BLACK = "#000000"
BLUE = "#0072B2"
GREEN = "#009E73"
ORANGE = "#E69F00"
PURPLE = "#CC79A7"
SKY_BLUE = "#56B4E9"
VERMILION = "#D55E00"
GRAY = "#888888"  # For bounds and for what is missing.

# By what people call the optimizers.
OPTIMIZERS = {
  "SGD": BLUE,
  "Lookahead (SGD)": VERMILION,
  "Adam": GREEN,
  "Lookahead (Adam)": PURPLE,
  "AdamW": SKY_BLUE,
  "Lookahead (AdamW)": ORANGE,
}
# For lines that are no optimizer, such as several step sizes.
PALETTE = (BLUE, VERMILION, GREEN, PURPLE, SKY_BLUE, ORANGE, BLACK)
LINE_STYLES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
# Perceptually uniform, and safe for colour-blind readers.
_COLOR_MAP = "viridis"

# At half of their size, as on a small screen, texts are still of 5 points.
matplotlib.rcParams.update(
  {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.prop_cycle": matplotlib.cycler(color=PALETTE),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 12,
    "figure.constrained_layout.use": True,
    "figure.dpi": 120,
    "font.size": 11,
    "grid.alpha": 0.3,
    "image.cmap": _COLOR_MAP,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "savefig.dpi": "figure",
  }
)


def colors(names: Iterable[str]) -> dict[str, str]:
  """Returns a colour for each name, all different as long as they last.

  Args:
    names: What a figure compares. An optimizer of OPTIMIZERS has its own
      colour, also where more follows behind a comma, as in "SGD, learning rate
      0.1"; of several names of one optimizer the first has it. Other names have
      the other colours of PALETTE, in order.
  """
  names = list(dict.fromkeys(names))
  found = {}
  for name in names:
    color = OPTIMIZERS.get(name.partition(", ")[0])
    if color is not None and color not in found.values():
      found[name] = color
  others = [color for color in PALETTE if color not in found.values()]
  rest = [name for name in names if name not in found]
  found |= {
    name: (others or PALETTE)[i % len(others or PALETTE)]
    for i, name in enumerate(rest)
  }
  return {name: found[name] for name in names}


def panels(
  rows: int = 1,
  columns: int = 1,
  width: float = 4.8,
  height: float = 3.8,
  **options: bool | str,
) -> tuple[Figure, np.ndarray]:
  """Returns a figure and its axes.

  Args:
    rows: Of panels.
    columns: Of panels.
    width: Of a panel, in inches of 120 pixels.
    height: Of a panel, likewise.
    **options: As for `matplotlib.pyplot.subplots`, such as `sharey=True`.

  Returns:
    The figure, and the axes in an array of shape (rows, columns).
  """
  size = (width * columns, height * rows)
  return plt.subplots(rows, columns, figsize=size, squeeze=False, **options)


def add_legend(figure: Figure, columns: int = 3) -> None:
  """Adds one legend below all panels, where the legend covers nothing.

  Args:
    figure: With labels in any of its axes; equal ones are shown once.
    columns: Of the legend.
  """
  entries = {}
  for axis in figure.axes:
    for handle, label in zip(*axis.get_legend_handles_labels()):
      entries.setdefault(label, handle)
  figure.legend(
    entries.values(),
    entries.keys(),
    loc="outside lower center",
    ncols=min(columns, len(entries)),
  )


def draw_band(
  axis: Axes,
  x: Sequence[float],
  values: Sequence[Sequence[float]],
  **style: str | float,
) -> None:
  """Draws the means of several runs as a line, and their range as a band.

  Args:
    axis: To draw in.
    x: Positions.
    values: For each position those of all runs. The band reaches from the least
      to the greatest.
    **style: Of the line, as for `Axes.plot`, such as `color` and `label`.
  """
  (line,) = axis.plot(x, [np.mean(v) for v in values], **style)
  axis.fill_between(
    x,
    [min(v) for v in values],
    [max(v) for v in values],
    color=line.get_color(),
    alpha=0.2,
    linewidth=0,
  )


def draw_heat_maps(
  axes: Sequence[Axes],
  maps: Mapping[str, Sequence[Sequence[float]]],
  x: tuple[str, Sequence[str]],
  y: tuple[str, Sequence[str]],
  label: str,
  text: str = "{:.1f}",
  limits: tuple[float, float] | None = None,
  log: bool = False,
  missing: str = "diverged",
) -> None:
  """Draws tables of numbers as heat maps with one colour scale for all.

  Args:
    axes: One for each map, in a row of one figure; behind them is the scale.
    maps: For each title the rows of a table, from the bottom to the top. A
      value that is not finite has no colour, and `missing` for its text.
    x: What the columns are, and the label of each column.
    y: What the rows are, and the label of each row.
    label: What the values are, with their unit.
    text: Format of the value that is written in a cell; "" for none.
    limits: The values where the colour scale ends, beyond which all values have
      the colour of the end; by default the least and the greatest.
    log: Whether the colour scale is logarithmic; then values are positive.
    missing: See `maps`.
  """
  tables = {title: np.asarray(rows, "float64") for title, rows in maps.items()}
  finite = [table[np.isfinite(table)] for table in tables.values()]
  every = np.concatenate([*finite, [] if any(map(len, finite)) else [1.0]])
  low, high = limits or (every.min(), every.max())
  kind = matplotlib.colors.LogNorm if log else matplotlib.colors.Normalize
  scale = kind(low, high if high > low else low + 1)
  colormap = matplotlib.colormaps[_COLOR_MAP].with_extremes(bad="0.85")
  for i, (axis, (title, table)) in enumerate(zip(axes, tables.items())):
    image = axis.imshow(
      np.ma.masked_invalid(table),
      norm=scale,
      cmap=colormap,
      origin="lower",
      aspect="auto",
    )
    axis.set_title(title)
    axis.set_xlabel(x[0])
    axis.set_xticks(range(len(x[1])), x[1])
    axis.set_yticks(range(len(y[1])), y[1])
    if i == 0:
      axis.set_ylabel(y[0])
    axis.grid(visible=False)
    axis.spines[:].set_visible(False)
    for (row, column), value in np.ndenumerate(table):
      is_known = np.isfinite(value)
      if text or not is_known:
        axis.text(
          column,
          row,
          text.format(value) if is_known else missing,
          ha="center",
          va="center",
          fontsize=10 if is_known else 8,
          color="white" if is_known and scale(value) < 0.6 else "black",
        )
  beyond = (bool((every < low).any()), bool((every > high).any()))
  extend = {(0, 0): "neither", (1, 0): "min", (0, 1): "max", (1, 1): "both"}
  bar = axes[0].figure.colorbar(
    image, ax=list(axes), label=label, extend=extend[beyond]
  )
  bar.outline.set_visible(False)


def save(figure: Figure, path: str) -> None:
  """Writes a figure as a PNG file, whole or not at all, and closes the figure.

  Args:
    figure: To be written.
    path: Of the file. A file that is there is replaced.

  Raises:
    UserError: if the file cannot be written.
  """
  content = io.BytesIO()
  figure.savefig(content, format="png")
  plt.close(figure)
  with files.writing(path, resumes=False):
    files.write_whole(path, content.getvalue())
