"""The command lines of the translation trainer's programs, in-process."""

import os

import tensorflow as tf
from absl.testing import parameterized

from tests import processes
from tests.trainers import command_line
from trainers.translation import export, trained, translate
from trainers.translation.__main__ import TRAINER

_CONFIG = f"--config={command_line.ROOT}/configs/phrases.py:adam"


def _run(name, arguments):
  """Runs the program of that name in this process."""
  if name == "train":
    command_line.run_trainer(TRAINER, *arguments)
  if name == "translate":
    command_line.run(translate.main, arguments, translate.define_flags)
  if name == "export":
    command_line.run(export.main, arguments, trained.define_flags)


class FlagsTest(
  command_line.Mistakes, tf.test.TestCase, parameterized.TestCase
):
  @parameterized.parameters(
    ("train", [], "--config"),
    ("train", [_CONFIG, "--beam_size=1"], "beam_size"),
    ("train", [_CONFIG, "--input=LICENSE"], "input"),
    ("train", [_CONFIG, "--fake_data"], "--fake_data"),
    ("train", [_CONFIG, "--config.num_step=1"], "num_step'"),
    ("train", [_CONFIG, "serve"], "serve"),
    ("translate", [], "--input=FILE"),
    ("translate", ["--input=LICENSE"], "--output=FILE"),
    ("translate", ["--input=LICENSE", "--output=tests"], "--output=tests"),
    ("translate", ["--input=a", "--output=b", "--seed=1"], "seed"),
    ("translate", ["--input=a", "--output=b", "--data_dir=c"], "data_dir"),
    ("translate", ["--input=a", "--output=b", "--workdir=e[1]"], "e[1]"),
    ("export", [], "--output"),
    ("export", ["--output=tests"], "--output=tests is there already"),
    ("export", ["--output=saved", "--precision=float16"], "precision"),
    ("export", ["--output=saved", "--input=LICENSE"], "input"),
    ("export", ["--output=saved", "--weights=first"], "best|last|average"),
    ("export", ["--output=saved", "--weights=last"], "holds no run"),
    ("export", ["--output=saved", "--beam_size=0"], "beam_size"),
    ("export", ["--output=saved*"], "--output=saved*"),
  )
  def test_a_mistake_ends_with_one_sentence(self, name, arguments, message):
    workdir = os.path.join(self.get_temp_dir(), self.id().split()[0])
    self.assertMistake(
      lambda: _run(name, [f"--workdir={workdir}", *arguments]), message
    )
    self.assertFalse(os.path.exists(workdir))

  def test_the_workdir_is_required(self):
    for name, arguments in (
      ("train", [_CONFIG]),
      ("translate", ["--input=a", "--output=b"]),
      ("export", ["--output=saved"]),
    ):
      _, text = command_line.last_words(
        lambda name=name, arguments=arguments: _run(name, arguments)
      )
      self.assertIn("workdir", text)

  def test_help_lists_the_flags_of_other_modules_too(self):
    values, _ = command_line.parse(["--workdir=a"], translate.define_flags)
    in_help = values.get_key_flags_for_module(translate.__name__)
    self.assertContainsSubset(
      ("beam_size", "input", "output", "weights"),
      [flag.name for flag in in_help],
    )

  def test_a_program_in_a_process_of_its_own(self):
    arguments = [f"--workdir={self.get_temp_dir()}/none", "--output=saved"]
    program = processes.Program("trainers.translation.export", arguments, {})
    status, errors = program.wait()
    self.assertEqual(status, 1)
    self.assertIn("holds no run", errors)
    self.assertNotIn("Traceback", errors)


if __name__ == "__main__":
  tf.test.main()
