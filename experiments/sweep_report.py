"""What a sweep leaves: results.md, a figure, and scores for HParams."""

import itertools
import math
import os
import shutil
import statistics
from collections.abc import Sequence

import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams

from experiments import outcomes, report, results, style
from experiments.outcomes import Outcome
from experiments.score import TRAINING_LOSS, Score
from experiments.trials import CONFIG, KINDS
from trainers import summary

_HPARAMS = "hparams"  # Directory below that of the sweep.
_COLUMNS = 3  # Of heat maps.
# A colour scale of values that differ by more is logarithmic.
_WIDE = 20
# Fewer numbers than that fit into the cells of a heat map.
_FITTING = 12


def write(
  found: Sequence[Outcome], directory: str, written: results.Results
) -> None:
  """Writes the report of a sweep, prints it, and names its files.

  Args:
    found: How each trial ended, in the order of the grid.
    directory: Of the sweep.
    written: Where results.md and the figure go.
  """
  score = KINDS[found[0].trial.kind].score
  _draw(found, score, written)
  write_hparams(found, score, directory)
  written.write(*describe(found, score), _how_to_browse(directory))


def describe(found: Sequence[Outcome], score: Score) -> list[str]:
  """Returns the best combination, a table of all, and what failed.

  Args:
    found: As for `write`.
    score: To be shown.
  """
  points = _points(found)
  parts = [results.make_table([_row(of, score) for of in points.values()])]
  means = {
    values: statistics.mean(outcomes.finals(of, score.column))
    for values, of in points.items()
    if outcomes.finals(of, score.column)
  }
  if means:
    best = score.best(means, key=means.get)
    told = ", ".join(f"{name} {_shown(value)}" for name, value in best)
    parts.insert(
      0, f"Best final {score.name}: {score.text(means[best])}, with {told}."
    )
  if any(len(of) > 1 for of in points.values()):
    parts.append(report.DEVIATION)
  parts += report.describe_endings(found)
  return parts


def write_hparams(
  found: Sequence[Outcome], score: Score, directory: str
) -> None:
  """Writes hyperparameters and scores of each trial for TensorBoard.

  Args:
    found: As for `write`.
    score: Its values of all evaluations are written.
    directory: Of the sweep, which gets the directory hparams. What an earlier
      report has left there is replaced.
  """
  root = os.path.join(directory, _HPARAMS)
  shutil.rmtree(root, ignore_errors=True)
  for one in found:
    path = os.path.join(root, *one.trial.name.split("/"))
    writer = tf.summary.create_file_writer(path)
    with writer.as_default():
      hparams.hparams(
        {
          **{name: _plain(value) for name, value in one.trial.values.items()},
          "seed": one.trial.seed,
        },
        trial_id=one.trial.name,
      )
      for line in one.lines:
        if score.column in line:
          tf.summary.scalar(
            score.column, line[score.column], step=int(line["step"])
          )
    writer.close()


def _points(found):
  """Returns the outcomes of each combination of values, over the seeds."""
  points = {}
  for one in found:
    key = tuple((name, _plain(v)) for name, v in one.trial.values.items())
    points.setdefault(key, []).append(one)
  return points


def _row(of, score):
  """Returns the row of the table for one combination."""
  row = {name: _shown(value) for name, value in of[0].trial.values.items()}
  finals = outcomes.finals(of, score.column)
  row["finished"] = f"{len(finals)} of {len(of)}"
  row[f"final {score.name}"] = report.mean_and_deviation(finals, score)
  row[f"best {score.name}"] = report.mean_and_deviation(
    report.bests(of, score), score
  )
  row[f"final {TRAINING_LOSS.name}"] = report.mean_and_deviation(
    outcomes.finals(of, TRAINING_LOSS.column), TRAINING_LOSS
  )
  return row


def _draw(found, score, written):
  """Draws a heat map of two numeric axes, or a line over one."""
  axes = found[0].trial.values
  levels = {
    name: list(dict.fromkeys(_plain(one.trial.values[name]) for one in found))
    for name in axes
  }
  numeric = [
    name
    for name, values in levels.items()
    if len(values) > 1 and all(_is_number(value) for value in values)
  ]
  if not numeric or not any(
    outcomes.finals([one], score.column) for one in found
  ):
    return
  shown = numeric[:2]
  others = [
    name for name in axes if name not in shown and len(levels[name]) > 1
  ]
  groups = {}
  for key, of in _points(found).items():
    values = dict(key)
    title = ", ".join(_told(name, values[name]) for name in others)
    place = tuple(values[name] for name in shown)
    groups.setdefault(title, {})[place] = outcomes.finals(of, score.column)
  if len(shown) == 2:
    _draw_heat_maps(groups, shown, levels, score, written)
  else:
    _draw_lines(groups, shown[0], score, written)


def _draw_heat_maps(groups, shown, levels, score, written):
  x, y = (sorted(levels[name]) for name in shown)
  maps = {
    title: [
      [_mean([score.factor * v for v in cells.get((i, j), [])]) for i in x]
      for j in y
    ]
    for title, cells in groups.items()
  }
  values = [
    value
    for rows in maps.values()
    for value in itertools.chain(*rows)
    if math.isfinite(value)
  ]
  columns = min(_COLUMNS, len(maps))
  figure, panels = style.panels(
    math.ceil(len(maps) / columns),
    columns,
    width=max(4.8, 0.75 * len(x) + 1.5),
    height=max(3.8, 0.45 * len(y) + 1.2),
  )
  for panel in panels.flat[len(maps) :]:
    panel.set_visible(False)
  style.draw_heat_maps(
    [*panels.flat],
    maps,
    (shown[0], [_shown(value) for value in x]),
    (shown[1], [_shown(value) for value in y]),
    f"final {score.label}",
    text="{:.1f}" if max(len(x), len(y)) <= _FITTING else "",
    log=min(values) > 0 and max(values) > _WIDE * min(values),
    missing="none",
  )
  written.save(figure, "heat_map")


def _draw_lines(groups, name, score, written):
  figure, [[axis]] = style.panels(width=7, height=4.6)
  colors = style.colors(groups)
  for i, (title, cells) in enumerate(groups.items()):
    places = sorted(place for place, finals in cells.items() if finals)
    if places:
      style.draw_band(
        axis,
        [place for (place,) in places],
        [[score.factor * v for v in cells[place]] for place in places],
        label=title or score.name,
        color=colors[title],
        marker=style.MARKERS[i % len(style.MARKERS)],
      )
  positions = [place for cells in groups.values() for (place,) in cells]
  without = [
    place
    for cells in groups.values()
    for (place,), finals in cells.items()
    if not finals
  ]
  if without:
    axis.plot(
      without,
      [0.03] * len(without),
      "x",
      transform=axis.get_xaxis_transform(),  # Above the horizontal axis.
      color=style.GRAY,
      markeredgewidth=2,
      label="no trial finished",
    )
  is_wide = min(positions) > 0 and max(positions) >= 8 * min(positions)
  axis.set(
    xscale="log" if is_wide else "linear",
    xlabel=name,
    ylabel=f"final {score.label}",
  )
  ticks = sorted(set(positions))
  axis.set_xticks(ticks, [_shown(tick) for tick in ticks])
  axis.minorticks_off()
  if len(groups) > 1 or without:
    style.add_legend(figure, columns=2)
  written.save(figure, "scores")


def _how_to_browse(directory):
  path = os.path.join(directory, _HPARAMS)
  command = summary.command("tensorboard.main", f"--logdir={path}")
  return f"All trials in a browser, by TensorBoard's HParams: `{command}`"


def _told(name, value):
  return _shown(value) if name == CONFIG else f"{name} {_shown(value)}"


def _mean(values):
  return statistics.mean(values) if values else math.nan


def _is_number(value):
  return isinstance(value, (int, float)) and not isinstance(value, bool)


def _shown(value):
  return f"{value:g}" if _is_number(value) else str(value)


def _plain(value):
  """Returns a value that HParams knows."""
  return value if isinstance(value, (bool, int, float, str)) else str(value)
