import contextlib
import io
import json
import os
import subprocess
import sys

import tensorflow as tf

from trainers import workdir
from trainers.errors import UserError


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

  def test_data_that_changed_is_one_sentence(self):
    source = {"train_size": 3, "train_fingerprint": "a", "classes": ["a"]}
    workdir.claim(self.path, config=_config(), source=source)
    with self.assertRaises(UserError) as raised:
      workdir.claim(
        self.path,
        config=_config(),
        source=source | {"train_fingerprint": "b", "classes": ["b"]},
      )
    message = str(raised.exception)
    self.assertIn("The data has changed", message)
    self.assertIn(self.path, message)
    self.assertIn("source.classes: ['a'] -> ['b']", message)
    self.assertIn("train_fingerprint: other names, sizes or contents", message)
    self.assertLen(message.splitlines(), 1)

  def test_a_run_may_become_longer_and_nothing_else(self):
    for name in ("num_epochs", "num_steps"):
      path = f"{self.path}_{name}"
      workdir.claim(path, config=_config(**{name: 3}))
      longer = _config(**{name: 4})
      workdir.check(path, config=longer)
      self.assertEqual(workdir.read(path, "config")[name], 3)
      with contextlib.redirect_stdout(io.StringIO()) as told:
        workdir.claim(path, config=longer)
      self.assertIn(f"{path}: the run goes on", told.getvalue())
      self.assertIn(f"config.{name}: 3 -> 4", told.getvalue())
      self.assertEqual(workdir.read(path, "config")[name], 4)
      for other, message in (
        (
          _config(**{name: 3}),
          f"cannot become shorter .*config.{name}: 4 -> 3",
        ),
        (longer | {name: 5, "seed": 1}, "belongs to another run"),
      ):
        with self.assertRaisesRegex(UserError, message):
          workdir.claim(path, config=other)
      self.assertEqual(workdir.read(path, "config")[name], 4)

  def test_a_group_that_is_set_on_one_side(self):
    workdir.claim(self.path, config=_config(lookahead={"sync_period": 5}))
    with self.assertRaises(UserError) as raised:
      workdir.check(self.path, config=_config(lookahead=None, seed=1))
    self.assertIn("config.lookahead.sync_period: 5", str(raised.exception))
    self.assertNotIn("config.lookahead:", str(raised.exception))
    self.assertIn("config.seed: 0 -> 1", str(raised.exception))

  def test_a_run_of_another_trainer(self):
    workdir.claim(self.path, config=_config(model={"width": 8}))
    workdir.check(self.path, config=_config(model={"width": 8}))
    with self.assertRaises(UserError) as raised:
      workdir.check(self.path, config=_config(model={"d_model": 8}))
    self.assertIn("a run of another trainer", str(raised.exception))
    self.assertNotIn("d_model", str(raised.exception))

  def test_a_workdir_that_is_a_file(self):
    os.makedirs(os.path.dirname(self.path), exist_ok=True)
    path = f"{self.path}.txt"
    with open(path, "w"):
      pass
    for wrong in (path, f"{path}/run"):
      with (
        self.assertRaisesRegex(UserError, f"{wrong} is.* a file"),
        workdir.locked(wrong),
      ):
        pass

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
    # What `locked` does, without an import of TensorFlow.
    program = (
      "import fcntl, sys; file = open(sys.argv[1], 'a')\n"
      "fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
      "print('locked', flush=True); sys.stdin.read()"
    )

    def start():
      return subprocess.Popen(
        [sys.executable, "-c", program, os.path.join(self.path, "lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
      )

    with workdir.locked(self.path):
      _, text = start().communicate()
      self.assertIn("BlockingIOError", text)
    with start() as other:
      self.assertEqual(other.stdout.readline(), "locked\n")
      with (
        self.assertRaisesRegex(
          UserError, f"Another process is training in --workdir={self.path}:"
        ),
        workdir.locked(self.path),
      ):
        pass
      other.kill()
    with workdir.locked(self.path):  # However the other one ended.
      pass

  def test_lock_in_a_directory_that_cannot_be(self):
    file = os.path.join(self.get_temp_dir(), "in_the_way")
    with open(file, "w"):
      pass
    with (
      self.assertRaisesRegex(UserError, "in_the_way/run is.* in, a file"),
      workdir.locked(os.path.join(file, "run")),
    ):
      pass


if __name__ == "__main__":
  tf.test.main()
