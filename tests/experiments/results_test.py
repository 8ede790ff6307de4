import contextlib
import datetime
import io
import os
import shlex

import numpy as np
import tensorflow as tf
from absl.testing import absltest, parameterized

from experiments import results, style
from tests.experiments import programs
from tests.trainers import command_line


def _main(values):
  with results.writing(values.workdir, "an_example") as written:
    figure, _ = style.panels()
    written.save(figure, "one")
    written.write("# A title", results.make_table([{"a": "1.50", "b": "é"}]))


class MeanAndDeviationTest(absltest.TestCase):
  def test_by_hand(self):
    # The mean of 1, 2 and 6 is 3, the sample variance (4 + 1 + 9) / 2 = 7.
    text = results.mean_and_deviation([1.0, 2.0, 6.0])
    self.assertEqual(text, "3.00 ± 2.65")
    text = results.mean_and_deviation(np.float32([1, 2, 6]), 1, "%")
    self.assertEqual(text, "3.0 ± 2.6 %")
    self.assertEqual(results.mean_and_deviation([0.25]), "0.25")

  def test_runs_that_diverged(self):
    text = results.mean_and_deviation([1.0, float("nan"), 2.0])
    self.assertEqual(text, "1 of 3 diverged")


class MakeTableTest(absltest.TestCase):
  def test_tables_keep_the_digits_of_numbers(self):
    head, *body = [("a", "b"), ("long", "1.50"), ("1,234", "")]
    for given in [head, *body], [dict(zip(head, row)) for row in body]:
      rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in results.make_table(given).splitlines()
      ]
      self.assertEqual(rows[0], ["a", "b"])
      self.assertRegex("".join(rows[1]), "^-+$")
      self.assertEqual(rows[2:], [["long", "1.50"], ["1,234", ""]])


class ResultsTest(
  command_line.Mistakes, tf.test.TestCase, parameterized.TestCase
):
  def setUp(self):
    super().setUp()
    self.workdir = os.path.join(self.get_temp_dir(), self.id().split()[0])

  def _run(self, *arguments):
    with contextlib.redirect_stdout(io.StringIO()) as text:
      programs.run(_main, [f"--workdir={self.workdir}", *arguments])
    return text.getvalue()

  def test_writes_what_was_found_and_how(self):
    printed = self._run("--seed=3")
    with open(os.path.join(self.workdir, "results.md")) as file:
      text = file.read()
    self.assertStartsWith(text, "# A title\n\n")
    self.assertRegex(text, r"\| 1\.50 +\| é +\|")
    self.assertIn(datetime.date.today().isoformat(), text)
    command = shlex.join([f"--workdir={self.workdir}", "--seed=3"])
    self.assertIn(f"python -m experiments.an_example {command}\n", text)
    self.assertIn(text.strip(), printed)
    for name in ("results.md", "an_example_one.png"):
      path = os.path.join(self.workdir, name)
      self.assertTrue(os.path.exists(path))
      self.assertIn(f"Written: {path}\n", printed)

  def test_the_same_program_replaces_its_own_files_alone(self):
    self._run()
    self._run()
    path = os.path.join(self.workdir, "results.md")
    with open(path, "w") as file:
      file.write("of another")
    status, message = command_line.last_words(self._run)
    self.assertEqual(status, 1)
    self.assertIn(f"--workdir={self.workdir}", message)
    self.assertIn("experiments.an_example", message)
    with open(path) as file:
      self.assertEqual(file.read(), "of another")

  @parameterized.parameters(
    (["--seed=-1"], "--seed"),
    ([f"--seed={2**31}"], "--seed"),
    (["--seed=x"], "Received: 'x'"),
    (["--sed=1"], "Did you mean --seed?"),
    (["more"], "['more']"),
  )
  def test_a_mistake_ends_with_one_sentence(self, arguments, message):
    self.assertMistake(lambda: self._run(*arguments), message)
    self.assertFalse(os.path.exists(self.workdir))

  def test_no_workdir_and_one_that_is_a_file(self):
    with open(self.workdir, "w"):
      pass
    for run, message in (
      (self._run, f"--workdir={self.workdir}"),
      (lambda: programs.run(_main, []), "--workdir must name a directory"),
    ):
      self.assertMistake(run, message)


if __name__ == "__main__":
  tf.test.main()
