import json
import os
import subprocess
import sys
from unittest import mock

import tensorflow as tf

from trainers import workdir
from trainers.errors import UserError

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))


def _config(**fields):
  return {"seed": 0, "data": {"name": "digits", "mean": (0.5, 0.5)}, **fields}


class WorkdirTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.path = os.path.join(self.get_temp_dir(), self.id(), "run")

  def test_claims_a_new_directory_and_its_own(self):
    for _ in range(2):
      workdir.claim(self.path, config=_config(), source={"size": 3})
    with open(os.path.join(self.path, "config.json")) as file:
      self.assertEqual(
        json.load(file),
        {"seed": 0, "data": {"name": "digits", "mean": [0.5, 0.5]}},
      )
    self.assertCountEqual(os.listdir(self.path), ["config.json", "source.json"])

  def test_files_of_text_and_of_bytes_are_written_whole_or_not_at_all(self):
    os.makedirs(self.path)
    path = os.path.join(self.path, "file")
    for content in ("first", b"\xff second"):
      workdir.write_whole(path, content)
      with open(path, "rb") as file:
        self.assertEqual(file.read(), tf.compat.as_bytes(content))
    with (
      mock.patch.object(
        tf.io.gfile,
        "rename",
        side_effect=tf.errors.UnknownError(None, None, ""),
      ),
      self.assertRaises(tf.errors.UnknownError),
    ):
      workdir.write_whole(path, "third")
    self.assertEqual(os.listdir(self.path), ["file"])
    with open(path, "rb") as file:
      self.assertEqual(file.read(), b"\xff second")

  def test_directory_that_cannot_be_written(self):
    file = os.path.join(self.get_temp_dir(), "file")
    with open(file, "w") as handle:
      handle.write("in the way")
    workdir_below_a_file = os.path.join(file, "run")
    with self.assertRaisesRegex(UserError, f"{workdir_below_a_file} cannot be"):
      workdir.claim(workdir_below_a_file, config=_config())

  def test_refuses_another_config_with_the_difference(self):
    workdir.claim(self.path, config=_config(steps=3), source={"size": 3})
    config = _config(l2=0.1)
    config["data"]["name"] = "mnist"
    with self.assertRaises(UserError) as raised:
      workdir.claim(self.path, config=config, source={"size": 4})
    message = str(raised.exception)
    self.assertIn("config.data.name: 'digits' -> 'mnist'", message)
    self.assertIn("config.steps: 3 -> '(none)'", message)
    self.assertIn("config.l2: '(none)' -> 0.1", message)
    self.assertIn("source.size: 3 -> 4", message)
    self.assertNotIn("seed", message)

  def test_damaged_record(self):
    workdir.claim(self.path, config=_config())
    with open(os.path.join(self.path, "config.json"), "w") as file:
      file.write('{"seed"')
    with self.assertRaisesRegex(UserError, "config.json"):
      workdir.claim(self.path, config=_config())

  def test_checking_writes_nothing(self):
    workdir.check(self.path, config=_config())
    self.assertFalse(os.path.exists(self.path))
    self.assertIsNone(workdir.read(self.path, "config"))
    workdir.claim(self.path, config=_config())
    workdir.check(self.path, config=_config(), source={"size": 3})
    with self.assertRaisesRegex(UserError, "config.seed: 0 -> 1"):
      workdir.check(self.path, config=_config(seed=1))
    self.assertEqual(os.listdir(self.path), ["config.json"])
    self.assertEqual(workdir.read(self.path, "config")["seed"], 0)

  def test_lock_is_for_one_process(self):
    program = (
      "import sys; from trainers import workdir\n"
      "with workdir.locked(sys.argv[1]): print('locked')"
    )

    def other_process():
      return subprocess.run(
        [sys.executable, "-c", program, self.path],
        cwd=_ROOT,
        capture_output=True,
        text=True,
      )

    with workdir.locked(self.path):
      self.assertIn("Another process is training in", other_process().stderr)
    self.assertEqual(other_process().stdout, "locked\n")

  def test_lock_in_a_directory_that_cannot_be(self):
    file = os.path.join(self.get_temp_dir(), "in_the_way")
    with open(file, "w"):
      pass
    with (
      self.assertRaisesRegex(UserError, "in_the_way/run cannot be used"),
      workdir.locked(os.path.join(file, "run")),
    ):
      pass


if __name__ == "__main__":
  tf.test.main()
