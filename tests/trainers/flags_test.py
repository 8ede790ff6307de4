"""The command line, as a user types it, in a process of its own."""

import os
import subprocess
import sys

import tensorflow as tf
from absl.testing import parameterized

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))


def _run(*arguments):
  return subprocess.run(
    [sys.executable, "-m", "trainers.image_classification", *arguments],
    cwd=_ROOT,
    capture_output=True,
    text=True,
    env={**os.environ, "PYTHONPATH": _ROOT},
  )


class FlagsTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.parameters(
    (["--config.num_epoch=4"], "no field 'num_epoch'. Did you mean"),
    (["--config.typo=4"], "no field 'typo'."),
    (["--config.num_epochs=many"], "'many'"),
    (["--config.num_epochs=None"], "Error: num_epochs must have a value"),
    (
      ["--config.data.eval_resize=9", "--config.data.cache=None"],
      "data.eval_resize=9 goes with",
    ),
    (["--config.lookahead.sync_period=0"], "Received: sync_period=0"),
    (["--strategy=mirrored"], "add --logical_cpus=2"),
    (["--strategy=mirored"], "should be one of"),
    (["--config=configs/none.py"], "configs/none.py"),
    (["--config.data.name=cifarr"], "data.name='cifarr' is unknown"),
    (["--tpu_compile_only=v9-8"], "v2-8, v3-8"),
    (["3"], r"Received: ['3']"),
    (["--strategy=tpu"], "requirements-tpu.txt"),
    (["--strategy=multi_worker"], "environment variable TF_CONFIG"),
    (["--strategy=one_device", "--tpu=local"], "--tpu=local goes with"),
    (["--fake_data", "--data_dir=/tmp"], "leave out --data_dir=/tmp"),
    (["--precision=fp8"], "should be one of"),
    (["--profile_steps=9-3"], "such as 100-110"),
    (["--seed=-1"], "not a non-negative integer"),
    (["--workdir=exp[lr=0.1]"], "must be a path without [ and ]: TensorFlow"),
    (
      ["--config.data.name=mnist", "--data_dir=~/no [data]"],
      f"--data_dir={os.path.expanduser('~')}/no [data] is not a directory",
    ),
  )
  def test_a_mistake_ends_with_one_sentence(self, arguments, message):
    workdir = os.path.join(self.get_temp_dir(), self.id().split()[0])
    finished = _run(
      "--config=configs/digits.py:lookahead",
      f"--workdir={workdir}",
      *arguments,
    )
    self.assertNotEqual(finished.returncode, 0)
    self.assertIn(message, finished.stderr + finished.stdout)
    self.assertNotIn("Traceback", finished.stderr)
    self.assertFalse(os.path.exists(workdir))
    self.assertFalse(os.path.exists(os.path.join(_ROOT, "exp[lr=0.1]")))

  def test_workdir_is_required(self):
    finished = _run("--config=configs/digits.py:lookahead")
    self.assertNotEqual(finished.returncode, 0)
    self.assertIn("--workdir", finished.stderr)


if __name__ == "__main__":
  tf.test.main()
