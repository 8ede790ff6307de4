import glob
import math
import os
from unittest import mock

import tensorflow as tf
from tensorboard.plugins.hparams import plugin_data_pb2

from experiments import outcomes, style, sweep_report, trials
from experiments.score import ACCURACY, PERPLEXITY

_RATE, _PERIOD = "learning_rate.peak", "lookahead.sync_period"


def _outcome(values, seed, scores, status=outcomes.FINISHED, reason=""):
  name = "/".join([f"{value}" for value in values.values()] + [f"{seed}"])
  trial = trials.Trial("image_classification", name, None, values, seed)
  lines = [
    {
      "step": i * 10,
      "epoch": i,
      "train/loss": 1 - score,
      "eval/accuracy": score,
      "eval/perplexity": score,
    }
    for i, score in enumerate(scores, 1)
  ]
  return outcomes.Outcome(trial, "", status, reason, lines)


def _grid():
  """Two configs, two rates and two periods; one combination diverged."""
  return [
    _outcome({"config": c, _RATE: rate, _PERIOD: k}, 0, [0.1, score])
    if score
    else _outcome(
      {"config": c, _RATE: rate, _PERIOD: k}, 0, [0.1], "diverged", "Is nan."
    )
    for c, rate, k, score in (
      ("a", 0.1, 10, 0.5),
      ("a", 0.1, 5, 0.6),
      ("a", 3.0, 10, 0.7),
      ("a", 3.0, 5, None),
      ("b", 0.1, 10, 0.2),
      ("b", 0.1, 5, 0.3),
      ("b", 3.0, 10, 0.4),
      ("b", 3.0, 5, 0.9),
    )
  ]


class DescribeTest(tf.test.TestCase):
  def test_means_over_seeds_and_the_best(self):
    # Finals .90 and .92: mean .91, sample deviation .01414; bests .95, .93.
    best, table, deviation = sweep_report.describe(
      [
        _outcome({"config": "a", _RATE: 0.1}, 0, [0.95, 0.90]),
        _outcome({"config": "a", _RATE: 0.1}, 1, [0.93, 0.92]),
        _outcome({"config": "a", _RATE: 0.3}, 0, [0.5]),
        _outcome({"config": "a", _RATE: 0.3}, 1, [0.6]),
      ],
      ACCURACY,
    )
    self.assertIn("final accuracy: 91.00 %", best)
    self.assertIn("config a, learning_rate.peak 0.1", best)
    head, _, first, _ = (
      [cell.strip() for cell in line.strip("|").split("|")]
      for line in table.splitlines()
    )
    self.assertEqual(head[:3], ["config", _RATE, "finished"])
    self.assertEqual(
      first,
      [
        "a",
        "0.1",
        "2 of 2",
        "91.00 ± 1.41 %",
        "94.00 ± 1.41 %",
        "0.0900 ± 0.0141",
      ],
    )
    self.assertIn("sample standard deviation", deviation)

  def test_the_least_perplexity_is_the_best(self):
    best, *_ = sweep_report.describe(_grid(), PERPLEXITY)
    self.assertIn(": 0.20, with config b, learning_rate.peak 0.1", best)

  def test_a_trial_that_did_not_finish(self):
    _, table, endings = sweep_report.describe(_grid(), ACCURACY)
    (row,) = (line for line in table.splitlines() if "0 of 1" in line)
    self.assertEqual(row.count(" - "), 3)
    self.assertIn("- a/3.0/5/0: diverged. Is nan.", endings)

  def test_none_finished(self):
    values = {"config": "a", _RATE: 0.1}
    found = [_outcome(values, 0, [], "failed", "No data.")]
    table, endings = sweep_report.describe(found, ACCURACY)
    self.assertIn("0 of 1", table)
    self.assertIn("failed. No data.", endings)


class WriteTest(tf.test.TestCase):
  def _write(self, found):
    written = mock.Mock()
    sweep_report.write(found, self.get_temp_dir(), written)
    for (figure, _), _ in written.save.call_args_list:
      style.plt.close(figure)
    return [(name, figure) for (figure, name), _ in written.save.call_args_list]

  def test_heat_maps_of_two_numeric_axes(self):
    ((name, figure),) = self._write(_grid())
    self.assertEqual(name, "heat_map")
    first, second, scale = figure.axes
    self.assertEqual([first.get_title(), second.get_title()], ["a", "b"])
    self.assertEqual(first.get_xlabel(), _RATE)
    self.assertEqual(first.get_ylabel(), _PERIOD)
    self.assertEqual(scale.get_ylabel(), "final validation accuracy, %")
    self.assertEqual(
      [label.get_text() for label in first.get_xticklabels()], ["0.1", "3"]
    )
    self.assertEqual(
      [label.get_text() for label in first.get_yticklabels()], ["5", "10"]
    )
    for axis, rows in (
      (first, [[60.0, math.nan], [50.0, 70.0]]),
      (second, [[30.0, 90.0], [20.0, 40.0]]),
    ):
      (image,) = axis.get_images()
      self.assertAllClose(image.get_array().filled(math.nan), rows)
      self.assertEqual((image.norm.vmin, image.norm.vmax), (20.0, 90.0))

  def test_lines_over_one_numeric_axis(self):
    ((name, figure),) = self._write(
      [
        _outcome({"config": "a", _RATE: 1.0}, 0, [0.5]),
        _outcome({"config": "a", _RATE: 1.0}, 1, [0.7]),
        _outcome({"config": "a", _RATE: 0.1}, 0, [0.4]),
        _outcome({"config": "a", _RATE: 9.0}, 0, [], "diverged", ""),
      ]
    )
    self.assertEqual(name, "scores")
    (axis,) = figure.axes
    without, line = sorted(
      axis.get_lines(), key=lambda one: -one.get_xdata()[0]
    )
    self.assertAllClose(line.get_xdata(), [0.1, 1.0])
    self.assertAllClose(line.get_ydata(), [40.0, 60.0])
    self.assertAllClose(without.get_xdata(), [9.0])
    self.assertEqual(axis.get_xscale(), "log")

  def test_no_figure_without_a_numeric_axis(self):
    found = [_outcome({"config": c}, 0, [0.5]) for c in "ab"]
    self.assertEmpty(self._write(found))

  def test_hparams_as_tensorboard_reads_them(self):
    self._write(_grid())
    self._write(_grid())  # What was there is replaced.
    (path,) = glob.glob(
      os.path.join(self.get_temp_dir(), "hparams", "b", "3.0", "5", "0", "*")
    )
    scores, read = {}, {}
    for event in tf.compat.v1.train.summary_iterator(path):
      for value in event.summary.value:
        if value.metadata.plugin_data.plugin_name == "hparams":
          data = plugin_data_pb2.HParamsPluginData.FromString(
            value.metadata.plugin_data.content
          )
          read |= dict(data.session_start_info.hparams)
        else:
          scores[event.step] = float(tf.make_ndarray(value.tensor))
    self.assertAllClose(scores, {10: 0.1, 20: 0.9})
    self.assertEqual(read["config"].string_value, "b")
    self.assertEqual(read[_RATE].number_value, 3.0)
    self.assertEqual(read[_PERIOD].number_value, 5.0)
    self.assertEqual(read["seed"].number_value, 0.0)


if __name__ == "__main__":
  tf.test.main()
