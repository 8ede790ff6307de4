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
model = keras.models.load_model("model.keras", compile=False)
print("Without the optimizer:", model.count_params())
exec(open("second.py").read())
print("Updates:", int(model.optimizer.iterations))
"""


class ReadmeTest(tf.test.TestCase):
  def test_train_and_go_on_in_a_new_process(self):
    first, second = _PROGRAMS
    directory = pathlib.Path(self.get_temp_dir())
    (directory / "second.py").write_text(second)
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

    finished = subprocess.run(
      [sys.executable, "-c", _NEW_PROCESS],
      cwd=directory,
      capture_output=True,
      text=True,
      env={**os.environ, "PYTHONPATH": str(_ROOT)},
    )
    self.assertEqual(finished.returncode, 0, finished.stderr)
    self.assertIn(
      "Without the import: Could not locate class 'Lookahead'", finished.stdout
    )
    self.assertIn("Without the optimizer: 129", finished.stdout)
    # 5 epochs of 125 steps, 2 of 157.
    self.assertIn("Updates: 939", finished.stdout)
    exported = tf.saved_model.load(str(directory / "exported"))
    points = np.array([[0.0, 0.0], [0.9, 0.9]], "float32")
    self.assertAllClose(exported.serve(points), [[1.0], [0.0]], atol=0.1)


if __name__ == "__main__":
  tf.test.main()
