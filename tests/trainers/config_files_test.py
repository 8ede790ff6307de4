"""Config files, of the repository and of one's own."""

import os
import pathlib

import ml_collections
import tensorflow as tf
from absl.testing import parameterized

from tests.trainers import command_line
from trainers import config_files, experiment
from trainers.errors import UserError

# Bazel links the files of a test: what a message names is where a file is.
_CONFIGS = command_line.ROOT.joinpath("configs", "words.py").resolve().parent
_OWN = """
from configs import image_folder

def get_config():
  config = image_folder.get_config("sgd")
  config.num_epochs = 3
  return config
"""


class LoadTest(tf.test.TestCase, parameterized.TestCase):
  def _write(self, text):
    folder = pathlib.Path(self.get_temp_dir(), self.id().split()[0])
    folder.mkdir(exist_ok=True)
    path = folder / "own.py"
    path.write_text(text)
    return str(path)

  def test_a_config_of_ones_own(self):
    config = config_files.load(self._write(_OWN))
    self.assertEqual(config.num_epochs, 3.0)
    self.assertTrue(config.is_locked)

  @parameterized.parameters(
    ("num_epochs = 3", "num_epoch = 3", "line 6: .*'num_epoch'.*'num_epochs'"),
    ("num_epochs = 3", "num_epochs = 'a'", "line 6: .*'num_epochs'"),
    ("num_epochs = 3", "num_epochs = three", "line 6: NameError: .*'three'"),
    ("num_epochs", "data.image_sise", "line 6: .*'image_sise'.*'image_size'"),
    ('"sgd")', '"sgd"', "line 5: this is not Python"),
    ('"sgd"', '"sdg"', "'sdg' is not a word"),
    ("import image_folder", "import image", "line 2: ImportError"),
    ("def get_config", "def config", "no function get_config"),
    ("return config", "return {'seed': 3}", "ConfigDict.*Received: {'seed': 3"),
    ("return config", "", "ConfigDict.*Received: None"),
    ("():", "(words):", "--config=.*own.py:WORDS"),
    (_OWN, "\0", "own.py.* not Python"),
  )
  def test_mistakes_in_a_config(self, right, wrong, message):
    path = self._write(_OWN.replace(right, wrong))
    with self.assertRaisesRegex(UserError, message) as raised:
      config_files.load(path)
    self.assertIn(path, str(raised.exception))
    self.assertLen(str(raised.exception).splitlines(), 1)

  def test_words_that_a_config_does_not_take(self):
    path = self._write(_OWN)
    with self.assertRaisesRegex(UserError, f"{path}, without words"):
      config_files.load(f"{path}:sgd")

  def test_files_that_are_not_there(self):
    before = os.getcwd()
    self.addCleanup(os.chdir, before)
    os.chdir(self.get_temp_dir())
    for reference, named in (
      ("configs/digits.py:sgd", (os.getcwd(), f"{_CONFIGS}/digits.py")),
      ("own.py", ("own.py", os.getcwd(), str(_CONFIGS))),
      (f"{_CONFIGS}/digit.py", (f"{_CONFIGS}/digits.py",)),
      (str(_CONFIGS), ("is a directory",)),
      ("", ("(no name)",)),
    ):
      with self.assertRaises(UserError) as raised:
        config_files.load(reference)
      for name in named:
        self.assertIn(name, str(raised.exception))

  def test_fields_that_a_trainer_misses(self):
    config = ml_collections.ConfigDict({"data": {"name": "digits"}})
    for read in (
      lambda: config.data.size,
      lambda: config["data"]["size"],
      lambda: experiment.check_ranges(
        config, [("data.size", *experiment.POSITIVE)]
      ),
    ):
      with (
        self.assertRaisesRegex(UserError, "no field 'size'"),
        config_files.explaining_missing_fields(),
      ):
        read()
    for error in (AttributeError, KeyError):  # Of the program itself.
      with (
        self.assertRaises(error),
        config_files.explaining_missing_fields(),
      ):
        raise error("size")


if __name__ == "__main__":
  tf.test.main()
