import contextlib
import io
import json
import os
import pathlib
import sys
from unittest import mock

import tensorflow as tf
from absl import flags
from absl.testing import flagsaver

from benchmarks.harness import report
from trainers.errors import UserError

_ROOT = pathlib.Path(__file__).resolve().parents[3]


def _main():
  if report.ROUNDS.value == 7:
    raise UserError("too many rounds")
  print(report.ROUNDS.value, "rounds")


class RunTest(tf.test.TestCase):
  """A program with a --config, run several times in this process."""

  def setUp(self):
    super().setUp()
    if "config" not in flags.FLAGS:
      report.define_config("Experiment.")
    self.enter_context(flagsaver.flagsaver())
    self.enter_context(contextlib.chdir(_ROOT))

  def _run(self, *arguments):
    """Returns what the program prints, and what it ends with."""
    with (
      mock.patch.object(sys, "argv", ["program", *arguments]),
      contextlib.redirect_stdout(io.StringIO()) as printed,
      self.assertRaises(SystemExit) as end,
    ):
      report.run(_main)
    return printed.getvalue(), end.exception.code

  def test_right_arguments(self):
    self.assertEqual(self._run("--rounds=3"), ("3 rounds\n", None))

  def test_a_mistake_is_one_sentence(self):
    for arguments, named in (
      (["more"], "'more'"),
      (
        ["--config=configs/translation.py", "--config.num_stesp=3"],
        "'num_stesp'",
      ),
      (["--rounds=7"], "too many rounds"),
      (["--config=configs/none.py"], "configs/none.py"),
      (["--config=configs/digits.py:adamw"], "'adamw'"),
    ):
      with self.subTest(named=named):
        printed, sentence = self._run(*arguments)
        self.assertEmpty(printed)
        self.assertRegex(sentence, f"^Error: .*{named}")
        self.assertNotIn("\n", sentence)


class ReportTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    if not flags.FLAGS.is_parsed():  # By pytest they are not.
      flags.FLAGS.mark_as_parsed()
    self.directory = os.path.join(self.get_temp_dir(), self.id())

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
      fields = json.load(file)
    self.assertEqual(fields["time"], [1.0])
    self.assertEqual(fields["command"], "python -m benchmarks.test --rounds=3")
    self.assertContainsSubset(["python", "keras", "torch"], fields["versions"])
    with open(os.path.join(self.directory, "try.md")) as file:
      text = file.read()
    self.assertStartsWith(text, f"# A test, {fields['date']}\n\nA table.\n")
    for part in ("command", "date", "machine"):
      self.assertIn(fields[part], text)
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
