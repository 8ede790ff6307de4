import json
import os
from unittest import mock

import tensorflow as tf
from absl import flags
from absl.testing import flagsaver

from benchmarks.harness import report


class ReportTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    if not flags.FLAGS.is_parsed():  # By pytest they are not.
      flags.FLAGS.mark_as_parsed()
    self.directory = os.path.join(self.get_temp_dir(), self.id())

  def test_tables_keep_the_digits_of_numbers(self):
    table = report.make_table([("a", "b"), ("long", "1.50"), ("1,234", "")])
    rows = [
      [cell.strip() for cell in line.strip("|").split("|")]
      for line in table.splitlines()
    ]
    self.assertEqual(rows[0], ["a", "b"])
    self.assertRegex("".join(rows[1]), "^-+$")
    self.assertEqual(rows[2:], [["long", "1.50"], ["1,234", ""]])

  def test_writes_what_was_measured_and_where(self):
    with (
      flagsaver.flagsaver(results=self.directory, name="try"),
      mock.patch.object(report.sys, "argv", ["program", "--rounds=3"]),
    ):
      written = report.Report("test", "A test", ["keras"])
      written.versions["torch"] = "2"
      written.write("A table.\n", {"time": [1.0]})
      with mock.patch("builtins.print") as prints:
        written.show()
    with open(os.path.join(self.directory, "try.json")) as file:
      figures = json.load(file)
    self.assertEqual(figures["time"], [1.0])
    self.assertEqual(figures["command"], "python -m benchmarks.test --rounds=3")
    self.assertContainsSubset(["python", "keras", "torch"], figures["versions"])
    with open(os.path.join(self.directory, "try.md")) as file:
      text = file.read()
    self.assertStartsWith(text, f"# A test, {figures['date']}\n\nA table.\n")
    for part in ("command", "date", "machine"):
      self.assertIn(figures[part], text)
    self.assertIn("torch 2", text)
    self.assertIn(text, prints.call_args.args[0])

  def test_a_results_folder_that_is_a_file_is_a_mistake(self):
    os.makedirs(self.get_temp_dir(), exist_ok=True)
    path = self.directory + ".file"
    with open(path, "w"):
      pass
    with (
      flagsaver.flagsaver(results=path),
      self.assertRaisesRegex(SystemExit, f"--results={path}"),
    ):
      report.Report("test", "A test", [])

  def test_the_name_is_no_path(self):
    with self.assertRaisesRegex(flags.IllegalFlagValueError, "name.*folder"):
      flags.FLAGS.name = "../else"


if __name__ == "__main__":
  tf.test.main()
