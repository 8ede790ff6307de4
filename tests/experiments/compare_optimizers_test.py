import os
import subprocess
import sys

import tensorflow as tf
from absl.testing import parameterized

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))


class CompareOptimizersTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.parameters(
    ("runs[1]", "configs/digits_cnn_sgd.py", "runs[1]"),
    ("runs", "configs/digits_cnn_sgd.py,exp[1].py", "--configs=exp[1]"),
  )
  def test_paths_that_are_patterns(self, workdir, configs, value):
    directory = os.path.join(self.get_temp_dir(), self.id().split()[0])
    finished = subprocess.run(
      [
        sys.executable,
        "-m",
        "experiments.compare_optimizers",
        f"--workdir={os.path.join(directory, workdir)}",
        f"--configs={configs}",
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


if __name__ == "__main__":
  tf.test.main()
