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

  def _evaluate(self, expressions, *arguments):
    """Prints Python expressions after the flags were parsed."""
    program = (
      "import sys\n"
      "from absl import flags\n"
      "from experiments import compare_optimizers\n"
      "flags.FLAGS(sys.argv)\n"
      f"print({expressions})"
    )
    return subprocess.run(
      [sys.executable, "-c", program, *arguments],
      cwd=_ROOT,
      capture_output=True,
      text=True,
    )

  def test_names_and_words(self):
    finished = self._evaluate(
      "*map(compare_optimizers._name, ["
      "'configs/multi30k.py:no_warmup, adam', 'a/b/digits.py', 'digits.py:']),"
      "*(compare_optimizers._load_config(one).lookahead is None"
      " for one in compare_optimizers._CONFIGS.value)",
      "--config=configs/digits.py",
      "--config=configs/digits.py:sgd",
      "--config=configs/image_folder.py:lookahead,adamw",
    )
    self.assertEqual(
      finished.stdout,
      "multi30k_adam_no_warmup digits digits False True False\n",
    )
    finished = self._evaluate(
      "compare_optimizers._load_config('configs/digits.py:sdg')"
    )
    self.assertIn(
      "UserError: --config=configs/digits.py:sdg: 'sdg' is not a word",
      finished.stderr,
    )

  def test_overrides_that_unset(self):
    loaded = "compare_optimizers._load_config('configs/wmt14.py:base,adam')"

    def run(*overrides):
      return self._evaluate(
        "*(lambda c: (c.data.test_split, c.eval_sentences, c.num_steps))"
        f"({loaded})",
        *overrides,
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
