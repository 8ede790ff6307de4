import contextlib
import io
import pathlib
import sys
from unittest import mock

from absl import flags
from absl.testing import absltest, flagsaver

from benchmarks.harness import program
from trainers.errors import UserError

_ROOT = pathlib.Path(__file__).resolve().parents[3]


def _main():
  if program.ROUNDS.value == 7:
    raise UserError("too many rounds")
  print(program.ROUNDS.value, "rounds")


class RunTest(absltest.TestCase):
  """A program with a --config, run several times in this process."""

  def setUp(self):
    super().setUp()
    if "config" not in flags.FLAGS:
      program.define_config("Experiment.")
    self.enter_context(flagsaver.flagsaver())
    self.enter_context(contextlib.chdir(_ROOT))

  def _run(self, *arguments):
    """Returns what the program prints, and what it ends with."""
    with (
      mock.patch.object(sys, "argv", ["program", *arguments]),
      contextlib.redirect_stdout(io.StringIO()) as printed,
      self.assertRaises(SystemExit) as end,
    ):
      program.run(_main)
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


if __name__ == "__main__":
  absltest.main()
