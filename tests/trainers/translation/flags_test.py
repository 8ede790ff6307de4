"""The flags of the translation trainer, as a user types them."""

import os
import subprocess
import sys

import tensorflow as tf
from absl.testing import parameterized

_ROOT = os.path.dirname(
  os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
)


class FlagsTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.parameters(
    ([], "--config must name a file"),
    (["--mode=serve"], "should be one of <train|translate|export>"),
    (["--mode=translate"], "needs --input=FILE and --output=FILE"),
    (["--mode=translate", "--input=LICENSE"], "--output must say where"),
    (
      ["--mode=translate", "--input=LICENSE", "--output=tests"],
      "--output=tests must be a file",
    ),
    (
      ["--mode=export", "--output=tests"],
      "--output=tests is there already: give a new directory.",
    ),
    (
      ["--mode=export", "--output=saved", "--seed=1"],
      "--seed is not for --mode=export: it takes that from the run",
    ),
    (
      ["--mode=export", "--output=saved", "--input=LICENSE"],
      "--input is not for --mode=export",
    ),
    (
      ["--config=configs/phrases.py:adam", "--beam_size=1"],
      "--beam_size is not for --mode=train: training does without it.",
    ),
    (
      ["--mode=export", "--output=saved", "--weights=last"],
      "holds no run of this trainer",
    ),
    (
      ["--mode=translate", "--input=x", "--output=y", "--workdir=exp[1]"],
      "--workdir=exp[1] must be a path without [ and ]",
    ),
    (
      ["--mode=export", "--output=saved*", "--workdir=exp"],
      "--output=saved* must be a path without *",
    ),
  )
  def test_a_mistake_ends_with_one_sentence(self, arguments, message):
    workdir = os.path.join(self.get_temp_dir(), self.id().split()[0])
    finished = subprocess.run(
      [
        sys.executable,
        "-m",
        "trainers.translation",
        f"--workdir={workdir}",
        *arguments,
      ],
      cwd=_ROOT,
      capture_output=True,
      text=True,
      env={**os.environ, "PYTHONPATH": _ROOT},
    )
    self.assertNotEqual(finished.returncode, 0)
    self.assertIn(message, finished.stderr + finished.stdout)
    self.assertNotIn("Traceback", finished.stderr)
    self.assertFalse(os.path.exists(workdir))


if __name__ == "__main__":
  tf.test.main()
