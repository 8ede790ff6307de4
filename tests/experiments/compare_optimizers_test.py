import os
import subprocess
import sys

import tensorflow as tf
from absl.testing import parameterized

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))


class CompareOptimizersTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.parameters(
    ("runs[1]", ("configs/digits.py:sgd",), "runs[1]"),
    ("runs", ("configs/digits.py:sgd", "exp[1].py"), "--config=exp[1]"),
  )
  def test_paths_that_are_patterns(self, workdir, configs, value):
    directory = os.path.join(self.get_temp_dir(), self.id().split()[0])
    finished = subprocess.run(
      [
        sys.executable,
        "-m",
        "experiments.compare_optimizers",
        f"--workdir={os.path.join(directory, workdir)}",
        *(f"--config={config}" for config in configs),
      ],
      cwd=_ROOT,
      capture_output=True,
      text=True,
      env={**os.environ, "PYTHONPATH": _ROOT},
    )
    self.assertEqual(finished.returncode, 1)
    self.assertNotIn("Traceback", finished.stderr)
    self.assertIn(f"{value} must be a path without [ and ]", finished.stderr)
    self.assertFalse(os.path.exists(directory))

  def test_overrides_that_unset(self):
    program = (
      "import sys\n"
      "from absl import flags\n"
      "from experiments import compare_optimizers\n"
      "flags.FLAGS(sys.argv)\n"
      "path = 'configs/wmt14.py:base,adam'\n"
      "config = compare_optimizers._load_config(path)\n"
      "print(config.data.test_split, config.eval_sentences, config.num_steps)"
    )

    def run(*overrides):
      return subprocess.run(
        [sys.executable, "-c", program, *overrides],
        cwd=_ROOT,
        capture_output=True,
        text=True,
      )

    finished = run(
      "--override=data.test_split=none",
      "--override=eval_sentences=None",
      "--override=num_steps=7",
    )
    self.assertEqual(finished.stdout, "None None 7\n")
    self.assertIn(
      "UserError: num_steps must have a value",
      run("--override=num_steps=None").stderr,
    )


if __name__ == "__main__":
  tf.test.main()
