"""The command lines of the translation trainer's programs, in-process."""

import functools
import io
import os
import subprocess
import sys
from contextlib import redirect_stderr

import tensorflow as tf
from absl import flags
from absl.testing import parameterized

from trainers import flags as flags_lib
from trainers.translation import __main__ as program
from trainers.translation import export, trained, translate

_ROOT = os.path.dirname(
  os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
)
_PROGRAMS = {
  "train": (
    functools.partial(flags_lib.train, program.TRAINER),
    flags_lib.define_training,
  ),
  "translate": (translate.main, translate.define_flags),
  "export": (export.main, trained.define_flags),
}
_CONFIG = "--config=configs/phrases.py:adam"


class FlagsTest(tf.test.TestCase, parameterized.TestCase):
  def _run(self, name, arguments):
    """Runs a program in this process; returns what it says at its end."""
    main, define = _PROGRAMS[name]
    values = flags.FlagValues()
    flags_lib.define_devices(values)
    define(values)
    stderr = io.StringIO()
    with self.assertRaises(SystemExit) as raised, redirect_stderr(stderr):
      flags_lib.call(main, flags_lib.parse(["x", *arguments], values), values)
    return f"{raised.exception}{stderr.getvalue()}"

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
    said = self._run(name, [f"--workdir={workdir}", *arguments])
    self.assertStartsWith(said, "Error: ")
    self.assertIn(message, said)
    self.assertFalse(os.path.exists(workdir))

  def test_the_workdir_is_required(self):
    for name, arguments in (
      ("train", [_CONFIG]),
      ("translate", ["--input=a", "--output=b"]),
      ("export", ["--output=saved"]),
    ):
      self.assertIn("workdir", self._run(name, arguments))

  def test_a_program_in_a_process_of_its_own(self):
    finished = subprocess.run(
      [
        *(sys.executable, "-m", "trainers.translation.export"),
        f"--workdir={self.get_temp_dir()}/none",
        "--output=saved",
      ],
      cwd=_ROOT,
      capture_output=True,
      text=True,
      env={**os.environ, "PYTHONPATH": _ROOT},
    )
    self.assertEqual(finished.returncode, 1)
    self.assertIn("holds no run of this trainer", finished.stderr)
    self.assertNotIn("Traceback", finished.stderr)


if __name__ == "__main__":
  tf.test.main()
