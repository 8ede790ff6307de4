"""The programs in README.md run, and do what is said of them."""

import os
import pathlib
import re
import subprocess
import sys

import keras
import numpy as np
import tensorflow as tf

import lookahead_tf

_ROOT = pathlib.Path(__file__).parents[2]
# The example of Keras is the one whose imports are there.
_PROGRAMS = re.findall(
  r"```python\n(import keras\n.*?)```",
  (_ROOT / "README.md").read_text(),
  re.DOTALL,
)
# Loads the model without the import first, then runs the program after it.
_NEW_PROCESS = """
import keras
try:
  keras.models.load_model("model.keras")
except TypeError as error:
  print("Without the import:", error)
exec(open("second.py").read())
print("Updates:", int(model.optimizer.iterations))
"""
# Predicts where `lookahead_tf` was never imported.
_PREDICT = """
import sys
exec(open("third.py").read())
assert "lookahead_tf" not in sys.modules
np.save("loaded.npy", model.predict(points))
np.save("exported.npy", exported.serve(points))
"""


def _run(program, directory):
  """Returns a finished process that ran a program in a directory."""
  return subprocess.run(
    [sys.executable, "-c", program],
    cwd=directory,
    capture_output=True,
    text=True,
    env={**os.environ, "PYTHONPATH": str(_ROOT)},
  )


class ReadmeTest(tf.test.TestCase):
  def test_train_and_go_on_in_a_new_process(self):
    first, second, third = _PROGRAMS
    directory = pathlib.Path(self.get_temp_dir())
    (directory / "second.py").write_text(second)
    (directory / "third.py").write_text(third)
    before = os.getcwd()
    os.chdir(directory)
    try:
      names = {}
      exec(first, names)
    finally:
      os.chdir(before)
    model, x, y = names["model"], names["x"], names["y"]
    self.assertIsInstance(model.optimizer, lookahead_tf.Lookahead)
    self.assertGreater(model.evaluate(x, y, verbose=0)[1], 0.95)
    best = keras.models.load_model(directory / "best.keras")
    self.assertSameElements(
      best.evaluate(x[4000:], y[4000:], verbose=0)[:1],
      [min(model.history.history["val_loss"])],
    )

    finished = _run(_NEW_PROCESS, directory)
    self.assertEqual(finished.returncode, 0, finished.stderr)
    self.assertIn(
      "Without the import: Could not locate class 'Lookahead'", finished.stdout
    )
    # 5 epochs of 125 steps, 2 of 157.
    self.assertIn("Updates: 939", finished.stdout)

    finished = _run(_PREDICT, directory)
    self.assertEqual(finished.returncode, 0, finished.stderr)
    for name in ("loaded.npy", "exported.npy"):
      self.assertAllClose(np.load(directory / name), [[1.0], [0.0]], atol=0.1)


if __name__ == "__main__":
  tf.test.main()
