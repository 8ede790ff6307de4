import contextlib
import io
import os
from unittest import mock

import tensorflow as tf
from absl.testing import parameterized

from tests.trainers import command_line
from trainers import devices, errors
from trainers.tpu import compile_only
from trainers.trainer import Trainer

_DIGITS = f"--config={command_line.ROOT}/configs/digits.py"


class TrainTest(tf.test.TestCase, parameterized.TestCase):
  """What reaches a trainer of a command line."""

  def _run(self, *arguments, **fields):
    trainer = Trainer(
      **{
        "load": lambda config, runtime: config,
        "check_fields": lambda config: None,
        "check": None,
        "unpack": None,
        "source_to_compile": lambda *arguments: arguments,
        "train": mock.Mock(),
        "make_step": None,
        **fields,
      }
    )
    command_line.run_trainer(trainer, _DIGITS, *arguments)
    return trainer

  def test_where_and_how(self):
    policies = []
    other = os.path.join(self.get_temp_dir(), "other")
    os.makedirs(other)
    with open(os.path.join(other, "config.json"), "w") as file:
      file.write("{}")
    trainer = self._run(
      "--workdir=run",
      "--data_dir=data",
      "--profile_steps=3-4",
      "--precision=bfloat16",
      "--seed=7",
      f"--init_from={other}",
      "--config.num_epochs=2.5",
      load=lambda config, runtime: (
        policies.append(devices.precision()) or config
      ),
    )
    ((config, runtime),) = [c.args for c in trainer.train.call_args_list]
    self.assertEqual((config.seed, config.num_epochs), (7, 2.5))
    self.assertEqual((runtime.workdir, runtime.data_dir), ("run", "data"))
    self.assertEqual(runtime.profile_steps, (3, 4))
    self.assertEqual(runtime.init_from, other)
    self.assertFalse(runtime.fake_data)
    self.assertIsInstance(runtime.strategy, tf.distribute.OneDeviceStrategy)
    self.assertEqual(policies, ["bfloat16"])

  @parameterized.parameters(
    (["--workdir=run"], "trainers.flags.make_runtime"),
    (["--tpu_compile_only=v3-8"], "trainers.trainer._compile"),
  )
  def test_fields_are_checked_before_devices_and_data(self, arguments, later):
    def refuse(config):
      raise errors.UserError("seed must be even")

    with mock.patch(later) as unreached:
      _, text = command_line.last_words(
        lambda: self._run(*arguments, check_fields=refuse)
      )
    self.assertIn("Error: seed must be even", text)
    unreached.assert_not_called()

  def test_a_run_cannot_start_from_itself(self):
    _, text = command_line.last_words(
      lambda: self._run("--workdir=run", "--init_from=./run")
    )
    self.assertIn("Error: --init_from=./run is the --workdir itself", text)

  def test_a_run_goes_on_without_the_run_that_it_started_from(self):
    checkpoints = os.path.join(self.get_temp_dir(), "run", "checkpoints")
    os.makedirs(checkpoints)
    arguments = [
      f"--workdir={os.path.dirname(checkpoints)}",
      "--init_from=/nowhere",
    ]
    _, text = command_line.last_words(lambda: self._run(*arguments))
    self.assertIn("--init_from=/nowhere holds no run", text)
    for end in ("index", "data-00000-of-00001"):
      with open(os.path.join(checkpoints, f"ckpt-3.{end}"), "w"):
        pass
    trainer = self._run(*arguments)
    trainer.train.assert_called_once()

  def test_what_another_optimizer_changes_is_told(self):
    with contextlib.redirect_stderr(io.StringIO()) as told:
      trainer = self._run("--workdir=run", "--config.optimizer.name=adamw")
    ((config, _),) = [c.args for c in trainer.train.call_args_list]
    self.assertEqual(config.optimizer.arguments.to_dict(), {})
    self.assertIn("momentum=0.9", told.getvalue())

  def test_a_run_that_stops_exits_with_a_status_of_its_own(self):
    def stop(*_):
      raise errors.Interrupted("Stopped by SIGTERM.")

    status = command_line.last_words(
      lambda: self._run("--workdir=run", train=stop)
    )
    self.assertEqual(status, (errors.EXIT_STATUS, "Stopped by SIGTERM.\n"))

  @parameterized.parameters("with", "without")
  def test_compiling_only(self, lookahead):
    unpacked = []

    def unpack(config, source, strategy):
      unpacked.append((config.lookahead, source, strategy))
      return "experiment"

    arguments = ["--tpu_compile_only=v3-8,v4-8", "--fake_data"]
    if lookahead == "without":
      arguments.append(f"{_DIGITS}:sgd")
    with mock.patch.object(compile_only, "report", return_value=7) as report:
      status, _ = command_line.last_words(
        lambda: self._run(
          *arguments,
          unpack=unpack,
          source_to_compile=lambda config, data_dir, fake: (data_dir, fake),
          make_step=lambda experiment, strategy: (experiment, strategy),
        )
      )
    self.assertEqual(status, 7)
    make_step, make_inner_step, *rest = report.call_args.args
    self.assertEqual(rest, [["v3-8", "v4-8"], 64, "examples"])
    self.assertEqual(make_step("strategy"), ("experiment", "strategy"))
    if lookahead == "without":
      self.assertIsNone(make_inner_step)
    else:
      self.assertEqual(make_inner_step("strategy"), ("experiment", "strategy"))
      self.assertEqual(unpacked[0][0].sync_period, 5)
    self.assertEqual(unpacked[-1], (None, (None, True), "strategy"))


if __name__ == "__main__":
  tf.test.main()
