import dataclasses
import json
import os
from unittest import mock

import tensorflow as tf

from configs import digits
from experiments import figures, outcomes, report, results, style, trials
from experiments.outcomes import Outcome
from experiments.score import ACCURACY, BLEU, PERPLEXITY


def _lines(accuracies):
  return [
    {"epoch": i, "train/loss": 1 - a, "eval/loss": a, "eval/accuracy": a}
    for i, a in enumerate(accuracies, 1)
  ]


def _run(accuracies, status=outcomes.FINISHED, directory="", config=None):
  """A run with these accuracies in its evaluations."""
  reason = "" if status == outcomes.FINISHED else "A reason."
  trial = trials.Trial("", "a_run", config or digits.get_config("sgd"), {}, 0)
  return Outcome(trial, directory, status, reason, _lines(accuracies))


def _table(*arguments, **options):
  return "\n\n".join(report.make_table(*arguments, **options))


class ReportTest(tf.test.TestCase):
  def test_mean_and_deviation_of_final_and_best(self):
    # Finals .90 and .92: mean .91, sample deviation .01414; bests .95 and .93.
    table = _table(
      {
        "a": {0.1: [_run([0.95, 0.90]), _run([0.93, 0.92])]},
        "b": {0.003: [_run([0.5])]},
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
    runs = {"a": {0.1: [_run([0.9, 0.8])]}}
    table = _table(runs, ACCURACY, examples=100)
    head, _, row, *_ = (line.split("|") for line in table.splitlines())
    cells = {title.strip(): cell.strip() for title, cell in zip(head, row)}
    self.assertEqual(cells["final accuracy"], "80.00 %")
    self.assertEqual(cells["of 100 examples"], "4.00 %")
    self.assertEqual(cells["best accuracy"], "90.00 %")
    self.assertIn("sqrt(p (1 - p) / 100)", table)

  def test_what_the_deviation_is(self):
    run = _run([0.5])
    for seeds, count in ((1, 0), (2, 1)):
      table = _table({"a": {0.1: [run] * seeds}}, ACCURACY)
      self.assertEqual(table.count("sample standard deviation"), count)
      self.assertNotIn("examples", table)

  def test_by_bleu(self):
    lines = [{"epoch": 1, "eval/loss": 2.0, "eval/bleu": 31.5}]
    run = dataclasses.replace(_run([]), lines=lines)
    table = _table({"a": {0.1: [run]}}, BLEU)
    self.assertRegex(table, r"\| final BLEU +\| best BLEU +\|")
    self.assertRegex(table, r"\| 31\.50 +\| 31\.50 +\|")

  def test_of_perplexities_the_least_is_the_best(self):
    lines = [
      {"epoch": i, "train/loss": 2.0, "eval/loss": 2.0, "eval/perplexity": v}
      for i, v in enumerate((900.0, 31.5, 40.0))
    ]
    run = dataclasses.replace(_run([]), lines=lines)
    table = _table({"a": {0.1: [run]}}, PERPLEXITY)
    self.assertRegex(table, r"\| 40\.00 +\| 31\.50 +\|")
    _, axis = figures.draw_curves({"a": [lines]}, PERPLEXITY).axes
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
    left, right = figures.draw_curves({"a": runs}, ACCURACY).axes
    for axis, expected in ((left, [2.0, 4.0]), (right, [50.0, 50.0])):
      (line,) = axis.get_lines()
      self.assertAllClose(line.get_xdata(), [1.0, 2.0])
      self.assertAllClose(line.get_ydata(), expected)

  def setUp(self):
    super().setUp()
    self.directory = os.path.join(self.get_temp_dir(), self.id())

  def _make_run(self, name, accuracies, examples=100):
    """A run of so many examples, which its directory says."""
    directory = os.path.join(self.directory, name)
    os.makedirs(directory)
    with open(os.path.join(directory, "source.json"), "w") as file:
      json.dump({"validation_size": examples}, file)
    return _run(accuracies, directory=directory)

  def _write(self, runs):
    """Reports on runs, and returns the table."""
    with results.writing(self.directory, "a_program", prefix="") as written:
      report.write(runs, ACCURACY, written)
    with open(os.path.join(self.directory, "results.md")) as file:
      return file.read()

  def test_writes_a_table_and_a_picture(self):
    text = self._write(
      {name: {0.1: [self._make_run(name, [0.5, 0.7])]} for name in ("a", "b")}
    )
    self.assertIn("70.00 %", text)
    self.assertIn("| of 100 examples ", text)
    self.assertIn("python -m experiments.a_program", text)
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
      rate: [_run(values) for values in by_seed]
      for rate, by_seed in accuracies.items()
    }
    with mock.patch.object(
      figures, "draw_curves", wraps=figures.draw_curves
    ) as curves:
      self._write({"a": runs})
    self.assertEqual(list(curves.call_args.args[0]), ["SGD, learning rate 0.3"])
    self.assertIn("learning_rates.png", os.listdir(self.directory))

  def test_runs_that_did_not_finish(self):
    diverged = _run([0.99], outcomes.DIVERGED)
    runs = {
      "a": {0.1: [_run([0.5]), diverged], 3.0: [diverged]},
      "b": {3.0: [diverged]},
    }
    with mock.patch.object(
      figures, "draw_curves", wraps=figures.draw_curves
    ) as curves:
      text = self._write(runs)
    (name,), (of,) = zip(*curves.call_args.args[0].items())
    self.assertEqual(name, "SGD, a, learning rate 0.1")
    self.assertEqual(of, [_lines([0.5])])
    self.assertRegex(text, r"\| a +\| 0\.1 +\| 1 of 2 +\| 50\.00 % +\|")
    self.assertRegex(text, r"\| b +\| 3 +\| 0 of 1 +\| - +\|")
    # Each reason stands there once, with the runs that it ended.
    self.assertEqual(text.count("A reason."), 1)
    self.assertIn("- a_run, a_run, a_run: diverged. A reason.", text)
    # Nor need there be any that did.
    self.assertIn("0 of 1", self._write({"b": runs["b"]}))

  def test_of_many_runs_with_one_reason_some_are_named(self):
    run = _run([], outcomes.FAILED)
    failed = [
      dataclasses.replace(
        run, trial=dataclasses.replace(run.trial, name=f"run_{i}")
      )
      for i in range(12)
    ]
    other = dataclasses.replace(failed[0], reason="Another.")
    (text,) = report.describe_endings([*failed[:5], other, *failed[5:]])
    self.assertEqual(
      text.splitlines()[2:],
      [
        "- run_0, run_1, run_2 and 9 more: failed. A reason.",
        "- run_0: failed. Another.",
      ],
    )

  def test_figures_name_the_optimizer_and_what_else_differs(self):
    def label(**words):
      runs = {
        name: {0.1: [_run([0.5], config=digits.get_config(word))]}
        for name, word in words.items()
      }
      with mock.patch.object(
        figures, "draw_curves", wraps=figures.draw_curves
      ) as curves:
        self._write(runs)
      return [
        name.removesuffix(", learning rate 0.1")
        for name in curves.call_args.args[0]
      ]

    self.assertEqual(
      label(digits_sgd="sgd", digits_lookahead="lookahead"),
      ["SGD", "Lookahead (SGD)"],
    )
    self.assertEqual(
      label(
        cifar_lookahead_speedrun="lookahead",
        cifar_sgd_speedrun="sgd",
        cifar_own_statistics_speedrun="lookahead",
      ),
      ["Lookahead (SGD)", "SGD", "Lookahead (SGD), own statistics"],
    )
    self.assertEqual(label(a="sgd", a_a="sgd"), ["a", "a_a"])

  def test_runs_on_different_examples(self):
    text = self._write(
      {
        name: {0.1: [self._make_run(name, [0.5], examples)]}
        for name, examples in (("a", 100), ("b", 200))
      }
    )
    self.assertNotIn("examples", text)

  def test_final_accuracies_over_the_learning_rate(self):
    (axis,) = figures.draw_learning_rates(
      {"a": {0.3: [0.7, 0.9], 0.1: [0.5]}}, ACCURACY
    ).axes
    (line,) = axis.get_lines()
    self.assertAllClose(line.get_xdata(), [0.1, 0.3])
    self.assertAllClose(line.get_ydata(), [50.0, 80.0])
    self.assertEqual(axis.get_xscale(), "log")


if __name__ == "__main__":
  tf.test.main()
