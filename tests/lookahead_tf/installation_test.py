"""What is said where a backend of Keras is not installed."""

import os
import subprocess
import sys
from unittest import mock

import keras
import tensorflow as tf

import lookahead_tf
from lookahead_tf import installation

# A module that is None in sys.modules is not found.
_IMPORT_WITHOUT_BACKENDS = """
import sys
sys.modules.update(dict.fromkeys(["tensorflow", "jax", "torch"]))
import lookahead_tf
"""


def _missing(name, installed=()):
  """Returns the error where `import keras` finds no module `name`."""
  error = ModuleNotFoundError(f"No module named '{name}'", name=name)
  with mock.patch.object(
    installation.importlib.util,
    "find_spec",
    lambda module: module if module in installed else None,
  ):
    return installation.missing_backend(error)


class InstallationTest(tf.test.TestCase):
  def test_import_without_a_backend_ends_in_one_sentence(self):
    finished = subprocess.run(
      [sys.executable, "-c", _IMPORT_WITHOUT_BACKENDS],
      capture_output=True,
      text=True,
      env={
        **os.environ,
        "KERAS_BACKEND": "tensorflow",
        "PYTHONPATH": os.pathsep.join(sys.path),
      },
    )
    *_, last = finished.stderr.splitlines()
    self.assertRegex(
      last,
      "^ImportError: .*KERAS_BACKEND=tensorflow.*pip install tensorflow"
      ".*jax or torch",
    )
    self.assertNotIn("exception", finished.stderr)  # Keras' own is left out.

  def test_a_backend_that_is_installed_is_named(self):
    said = str(_missing("tensorflow.python", installed=["torch"]))
    self.assertRegex(said, "pip install tensorflow.*KERAS_BACKEND=torch")
    self.assertNotIn("jax", said)
    said = str(_missing("jax", installed=["tensorflow", "torch"]))
    self.assertRegex(said, "pip install jax.*KERAS_BACKEND=tensorflow or torch")

  def test_other_modules_that_are_missing_are_not_explained(self):
    self.assertEqual(_missing("optree").name, "optree")

  def test_what_needs_tensorflow_says_so(self):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(lookahead_tf.Lookahead("sgd"), loss="mse")
    callback = lookahead_tf.LogSlowWeights(self.get_temp_dir())
    callback.set_model(model)
    with mock.patch.dict(sys.modules, {"tensorflow": None}):
      with self.assertRaisesRegex(
        ImportError, "load_tfa_checkpoint.*pip install tensorflow"
      ):
        lookahead_tf.load_tfa_checkpoint("ckpt", model)
      with self.assertRaisesRegex(
        ImportError, "LogSlowWeights.*pip install tensorflow"
      ):
        callback.on_train_begin()


if __name__ == "__main__":
  tf.test.main()
