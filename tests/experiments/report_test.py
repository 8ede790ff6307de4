import json
import os
from unittest import mock

import tensorflow as tf

from experiments import figures, report, style
from experiments.score import ACCURACY, BLEU, PERPLEXITY
from trainers import metrics


def _lines(accuracies):
  return [
    {"epoch": i, "train/loss": 1 - a, "eval/loss": a, "eval/accuracy": a}
    for i, a in enumerate(accuracies, 1)
  ]


class ReportTest(tf.test.TestCase):
  def test_mean_and_deviation_of_final_and_best(self):
    # Finals .90 and .92: mean .91, sample deviation .01414; bests .95 and .93.
    table = report.make_table(
      {
        "a": {0.1: [_lines([0.95, 0.90]), _lines([0.93, 0.92])]},
        "b": {0.003: [_lines([0.5])]},
      },
      ACCURACY,
    )
    rows = [
      [cell.strip() for cell in line.strip("|").split("|")]
      for line in table.splitlines()
    ]
    self.assertEqual(rows[0][:3], ["run", "learning rate", "seeds"])
    self.assertEqual(
      rows[2],
      ["a", "0.1", "2", "91.00 ± 1.41 %", "94.00 ± 1.41 %", "0.9100 ± 0.0141"],
    )
    self.assertEqual(
      rows[3], ["b", "0.003", "1", "50.00 %", "50.00 %", "0.5000"]
    )

  def test_standard_error_of_a_part_of_the_examples(self):
    # sqrt(.8 * .2 / 100) = .04, beside the final accuracy alone.
    lines = {"a": {0.1: [_lines([0.9, 0.8])]}}
    table = report.make_table(lines, ACCURACY, examples=100)
    head, _, row, *_ = (line.split("|") for line in table.splitlines())
    cells = {title.strip(): cell.strip() for title, cell in zip(head, row)}
    self.assertEqual(cells["final accuracy"], "80.00 %")
    self.assertEqual(cells["of 100 examples"], "4.00 %")
    self.assertEqual(cells["best accuracy"], "90.00 %")
    self.assertIn("sqrt(p (1 - p) / 100)", table)

  def test_what_the_deviation_is(self):
    run = _lines([0.5])
    for seeds, count in ((1, 0), (2, 1)):
      table = report.make_table({"a": {0.1: [run] * seeds}}, ACCURACY)
      self.assertEqual(table.count("sample standard deviation"), count)
      self.assertNotIn("examples", table)

  def test_by_bleu(self):
    lines = [{"epoch": 1, "eval/loss": 2.0, "eval/bleu": 31.5}]
    table = report.make_table({"a": {0.1: [lines]}}, BLEU)
    self.assertRegex(table, r"\| final BLEU +\| best BLEU +\|")
    self.assertRegex(table, r"\| 31\.50 +\| 31\.50 +\|")

  def test_of_perplexities_the_least_is_the_best(self):
    lines = [
      {"epoch": i, "train/loss": 2.0, "eval/loss": 2.0, "eval/perplexity": v}
      for i, v in enumerate((900.0, 31.5, 40.0))
    ]
    table = report.make_table({"a": {0.1: [lines]}}, PERPLEXITY)
    self.assertRegex(table, r"\| 40\.00 +\| 31\.50 +\|")
    path = os.path.join(self.get_temp_dir(), "perplexities.png")
    with mock.patch.object(style, "save") as save:
      figures.draw_curves({"a": [lines]}, PERPLEXITY, path)
    _, axis = save.call_args.args[0].axes
    # From the best to the worst of the last two thirds.
    self.assertAllClose(axis.get_ylim(), (29.5, 42.0))

  def test_curves_of_runs_whose_epochs_have_other_numbers_of_steps(self):
    runs = [
      [
        {"epoch": epoch, "train/loss": 2 * epoch, "eval/accuracy": 0.5}
        for epoch in epochs
      ]
      for epochs in ((1.0, 2.0), (0.5, 1.5, 2.5))
    ]
    with mock.patch.object(style, "save") as save:
      figures.draw_curves({"a": runs}, ACCURACY, "a.png")
    left, right = save.call_args.args[0].axes
    for axis, expected in ((left, [2.0, 4.0]), (right, [50.0, 50.0])):
      (line,) = axis.get_lines()
      self.assertAllClose(line.get_xdata(), [1.0, 2.0])
      self.assertAllClose(line.get_ydata(), expected)

  def _write_run(self, *path, accuracies, examples=100):
    workdir = os.path.join(self.directory, *path)
    os.makedirs(workdir)
    writer = metrics.MetricsWriter(workdir)
    for line in _lines(accuracies):
      writer.write(int(line["epoch"]), line.pop("epoch"), line)
    writer.close()
    with open(os.path.join(workdir, "source.json"), "w") as file:
      json.dump({"validation_size": examples}, file)
    return workdir

  def setUp(self):
    super().setUp()
    self.directory = os.path.join(self.get_temp_dir(), self.id())

  def test_writes_a_table_and_a_picture(self):
    runs = {
      name: {0.1: [self._write_run(name, accuracies=[0.5, 0.7])]}
      for name in ("a", "b")
    }
    report.write(runs, ACCURACY, self.directory)
    with open(os.path.join(self.directory, "results.md")) as file:
      table = file.read()
    self.assertIn("70.00 %", table)
    self.assertIn("| of 100 examples ", table)
    image = tf.io.decode_png(
      tf.io.read_file(os.path.join(self.directory, "curves.png"))
    )
    # Both curves are drawn, each in its colour.
    pixels = {tuple(p) for p in image.numpy()[..., :3].reshape(-1, 3)}
    for color in style.PALETTE[:2]:
      self.assertIn(tuple(bytes.fromhex(color[1:])), pixels)
    self.assertNotIn("learning_rates.png", os.listdir(self.directory))

  def test_of_several_learning_rates_the_best_has_its_curves_drawn(self):
    # By the mean of the last values: .7 at .1, .8 at .3.
    accuracies = {0.1: [[0.9, 0.6], [0.9, 0.8]], 0.3: [[0.1, 0.8], [0.1, 0.8]]}
    runs = {
      "a": {
        rate: [
          self._write_run(f"{rate}", f"{i}", accuracies=values)
          for i, values in enumerate(by_seed)
        ]
        for rate, by_seed in accuracies.items()
      }
    }
    with mock.patch.object(
      figures, "draw_curves", wraps=figures.draw_curves
    ) as curves:
      report.write(runs, ACCURACY, self.directory)
    self.assertEqual(list(curves.call_args.args[0]), ["a, learning rate 0.3"])
    self.assertIn("learning_rates.png", os.listdir(self.directory))

  def test_figures_name_the_optimizer_where_that_is_enough(self):
    def label(**configs):
      for name, config in configs.items():
        path = os.path.join(self.directory, name)
        os.makedirs(path, exist_ok=True)
        with open(os.path.join(path, "config.json"), "w") as file:
          json.dump(config, file)
      runs = {
        name: {0.1: [os.path.join(self.directory, name)]} for name in configs
      }
      with (
        mock.patch.object(report.metrics, "read", return_value=_lines([0.5])),
        mock.patch.object(figures, "draw_curves") as curves,
      ):
        report.write(runs, ACCURACY, self.directory)
      return [name.partition(", ")[0] for name in curves.call_args.args[0]]

    sgd = {"optimizer": {"name": "sgd"}, "lookahead": None}
    around = {**sgd, "lookahead": {"sync_period": 5}}
    self.assertEqual(label(a=sgd, b=around), ["SGD", "Lookahead (SGD)"])
    self.assertEqual(label(a=sgd, b=sgd), ["a", "b"])

  def test_runs_on_different_examples(self):
    runs = {
      name: {0.1: [self._write_run(name, accuracies=[0.5], examples=examples)]}
      for name, examples in (("a", 100), ("b", 200))
    }
    with mock.patch.object(figures, "draw_curves") as curves:
      report.write(runs, ACCURACY, self.directory)
    self.assertEqual(
      list(curves.call_args.args[0]),
      ["a, learning rate 0.1", "b, learning rate 0.1"],
    )
    with open(os.path.join(self.directory, "results.md")) as file:
      self.assertNotIn("examples", file.read())

  def test_final_accuracies_over_the_learning_rate(self):
    path = self.directory + ".png"
    with mock.patch.object(style, "save") as save:
      figures.draw_learning_rates(
        {"a": {0.3: [0.7, 0.9], 0.1: [0.5]}}, ACCURACY, path
      )
    (axis,) = save.call_args.args[0].axes
    (line,) = axis.get_lines()
    self.assertAllClose(line.get_xdata(), [0.1, 0.3])
    self.assertAllClose(line.get_ydata(), [50.0, 80.0])
    self.assertEqual(axis.get_xscale(), "log")


if __name__ == "__main__":
  tf.test.main()
