import os
import signal
from unittest import mock

import tensorflow as tf
from absl import flags as absl_flags
from absl.testing import parameterized

from tests import processes
from tests.trainers import command_line
from trainers import flags
from trainers.image_classification.__main__ import TRAINER

_DIGITS = f"--config={command_line.ROOT}/configs/digits.py"


def _start(*arguments, **environment):
  return command_line.start(
    "trainers.image_classification", *arguments, **environment
  )


class ProcessTest(tf.test.TestCase):
  """The command line as a user types it."""

  def test_help(self):
    program = processes.Program("trainers.image_classification", ["--help"], {})
    _, errors = program.wait()
    self.assertIn("--profile_steps: ", program.stdout())
    self.assertIn("--workdir: ", program.stdout())
    self.assertNotIn("Traceback", errors)

  def test_a_mistake_ends_with_one_sentence(self):
    workdir = os.path.join(self.get_temp_dir(), self.id().split()[0])
    # TensorFlow's own log is left out whatever a user's shell has set.
    finished = _start(
      *(_DIGITS, f"--workdir={workdir}", "--strategy=mirrored"),
      TF_CPP_MIN_LOG_LEVEL="0",
    )
    self.assertEqual(finished.returncode, 1)
    (line,) = finished.stderr.splitlines()
    self.assertStartsWith(line, "Error: ")
    self.assertIn("add --logical_cpus=2", line)
    self.assertEmpty(finished.stdout)
    self.assertFalse(os.path.exists(workdir))

  def test_ctrl_c_before_anything_is_handled(self):
    path = os.path.join(self.get_temp_dir(), "config.py")
    with open(path, "w") as file:
      file.write("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    finished = _start(f"--config={path}", "--workdir=run")
    self.assertEqual(finished.returncode, -signal.SIGINT)
    self.assertEqual(finished.stderr, "Stopped by Ctrl-C.\n")


class MistakesTest(
  command_line.Mistakes, tf.test.TestCase, parameterized.TestCase
):
  @parameterized.parameters(
    (["--config.num_epoch=4"], "no field 'num_epoch'. Did you mean"),
    (["--config.typo=4"], "no field 'typo'."),
    (["--config.num_epochs=many"], "a number. Received"),
    (["--config.num_epochs=None"], "Error: num_epochs must have a value"),
    (
      ["--config.data.eval_resize=9", "--config.data.cache=None"],
      "data.eval_resize=9 goes with",
    ),
    (["--config.lookahead.sync_period=0"], "Received: sync_period=0"),
    (["--config.lookahead.alpha=.5"], "Did you mean slow_step_size?"),
    (["--config.optimizer.arguments.weight_dcay=1"], "weight_decay?"),
    (["--config.optimizer.name=adamw", "--seed=a"], "Received: 'a'"),
    (["--epochs=3"], "Did you mean --config.num_epochs=3?"),
    (["--learning_rate", "3"], "--config.learning_rate.peak=VALUE?"),
    (["--override=batch_size=16"], "--config.global_batch_size=16?"),
    (["--datadir=a"], "Did you mean --data_dir?"),
    (["--deterministic=maybe"], "--deterministic must be true or false"),
    (["--config=configs/phrases.py"], "no field 'num_epochs'"),
    (["--strategy=mirored"], "should be one of"),
    (["--config=configs/none.py:a"], "there is no file configs/none.py"),
    ([f"{_DIGITS}:lookahed"], "'lookahed'"),
    (["--config.data.name=cifarr"], "data.name='cifarr' is unknown"),
    (["--tpu_compile_only=v9-8"], "v2-8, v3-8"),
    (["3"], r"Received: ['3']"),
    (["--strategy=tpu"], "requirements-tpu.txt"),
    (["--strategy=multi_worker"], "environment variable TF_CONFIG"),
    (["--strategy=one_device", "--tpu=local"], "--tpu=local goes with"),
    (["--fake_data", "--data_dir=/tmp"], "leave out --data_dir=/tmp"),
    (["--precision=fp8"], "should be one of"),
    (["--profile_steps=9-3"], "such as 100-110"),
    (["--seed=-1"], "--seed must be a non-negative integer. Received: '-1'"),
    (["--init_from=none"], "--init_from=none holds no run: there is no none/"),
    (["--init_from=a*"], "--init_from=a* must be a path without *"),
    (["--workdir=exp[lr=0.1]"], "must be a path without [ and ]: TensorFlow"),
    (
      ["--config.data.name=mnist", "--data_dir=~/no [data]"],
      f"--data_dir={os.path.expanduser('~')}/no [data] is not a directory",
    ),
    (["--typo=4"], "there is no flag --typo. (--help"),
  )
  def test_a_mistake_ends_with_one_sentence(self, arguments, message):
    workdir = os.path.join(self.get_temp_dir(), self.id().split()[0])
    self.assertMistake(
      lambda: command_line.run_trainer(
        TRAINER, _DIGITS, f"--workdir={workdir}", *arguments
      ),
      message,
    )
    self.assertFalse(os.path.exists(workdir))
    self.assertFalse(os.path.exists("exp[lr=0.1]"))

  @parameterized.parameters(
    ([_DIGITS], "Error: --workdir must name"),
    (["--workdir=run"], "Error: --config must name"),
    (["--workdir=run", "--config.seed=3"], "Error: --config must name"),
  )
  def test_what_is_required(self, arguments, message):
    status, text = command_line.last_words(
      lambda: command_line.run_trainer(TRAINER, *arguments)
    )
    self.assertEqual(status, 1)
    self.assertIn(message, text)


class PathTest(tf.test.TestCase):
  @mock.patch.dict(os.environ, HOME="/home/me")
  def test_home(self):
    values = absl_flags.FlagValues()
    holder = absl_flags.DEFINE(
      flags.PathParser(), "place", "~/default", "Help.", flag_values=values
    )
    for argument, path in (
      ([], "/home/me/default"),
      (["--place=~"], "/home/me"),
      (["--place", "~/a b/"], "/home/me/a b/"),
      (["--place=./~"], "./~"),
      (["--place=a/~/b~"], "a/~/b~"),
      (["--place=gs://a/~"], "gs://a/~"),
    ):
      values.unparse_flags()
      values(["program", *argument])
      self.assertEqual(holder.value, path)


if __name__ == "__main__":
  tf.test.main()
