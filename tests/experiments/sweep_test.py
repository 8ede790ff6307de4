import contextlib
import io
import os
import unittest
from unittest import mock

import tensorflow as tf
from absl.testing import parameterized

from experiments import local, outcomes, program, progress, sweep, trials
from tests.experiments import programs
from tests.trainers import command_line
from trainers.errors import UserError

try:
  import ray
except ImportError:
  ray = None

_SGD = f"--config={command_line.ROOT}/configs/digits.py:sgd"
_RATES = "--grid=learning_rate.peak=0.1,0.3"


class SweepTest(
  command_line.Mistakes, tf.test.TestCase, parameterized.TestCase
):
  def setUp(self):
    super().setUp()
    self.workdir = os.path.join(self.get_temp_dir(), "sweep")

  def _run(self, *arguments, config=_SGD):
    command_line.run(
      sweep.main,
      [config, f"--workdir={self.workdir}", *arguments],
      sweep.define_flags,
    )

  def _last_words(self, *arguments, config=_SGD):
    status, text = command_line.last_words(
      lambda: self._run(*arguments, config=config)
    )
    self.assertEqual(status, 1)
    self.assertStartsWith(text, "Error: ")
    return text

  @parameterized.parameters(
    (["--grid=learning_rate.peek=1"], "Did you mean --grid=learning_rate.peak"),
    (["--grid=num_epochs=x"], "--grid=num_epochs=x"),
    (["--grid=num_epochs="], "--grid=num_epochs= must be a field and its"),
    (["--grid=learning_rate.peak=1,-1"], "must be positive. Received: -1"),
    ([], "nothing to sweep"),
    ([_RATES, "--override=batch_size=16"], "--override=global_batch_size"),
    ([_RATES, "--seeds=0"], "--seeds must be a positive integer"),
    ([_RATES, "--processes=0"], "--processes must be a positive integer"),
    ([_RATES, "--stop_early=mean"], "none|median|halving"),
    ([_RATES, "--strategy=multi_worker"], "Received: --strategy=multi_worker"),
    ([_RATES, "--tpu=local"], "Received: --tpu=local"),
    ([_RATES, "--cpus_per_trial=2"], "--cpus_per_trial goes with --cluster"),
    ([_RATES, "--gpus_per_trial=0"], "--gpus_per_trial goes with --cluster"),
    (
      [_RATES, "--cluster=local", "--processes=2"],
      "--processes goes without --cluster",
    ),
    ([_RATES, "--data_dir=nowhere"], "--data_dir=nowhere does not exist"),
    ([_RATES, "--workdir=gs://bucket/sweep"], "--workdir=gs://bucket/sweep"),
    (["--grid"], "--grid=VALUE"),
    ([_RATES, "--epochs=3"], "Did you mean --override=num_epochs=3?"),
    ([_RATES, "more"], "['more']"),
  )
  def test_a_mistake_ends_with_one_sentence(self, arguments, message):
    self.assertMistake(lambda: self._run(*arguments), message)
    self.assertFalse(os.path.exists(self.workdir))

  def test_without_ray(self):
    with mock.patch.dict("sys.modules", ray=None):
      text = self._last_words(_RATES, "--cluster=local")
    self.assertIn(".[cluster]", text)

  @unittest.skipIf(ray is None, "Ray is not installed")
  @parameterized.parameters(
    ("127.0.0.1:9", "--cluster=127.0.0.1:9 cannot be reached"),
    ("127.0.0.1", "Received: '127.0.0.1'"),
    ("127.0.0.1:99999", "--cluster=127.0.0.1:99999 cannot be reached"),
  )
  def test_a_cluster_that_is_not_there(self, address, message):
    self.assertMistake(
      lambda: self._run(_RATES, f"--cluster={address}"), message
    )

  def test_a_trial_that_fails(self):
    with mock.patch.object(local, "run", programs.fail_second):
      text = self._last_words(_RATES)
    first, second = text.splitlines()
    self.assertIn("1 of 2 trials failed", first)
    self.assertIn("digits_sgd/learning_rate.peak=0.3/seed_0: No data.", second)
    self.assertIn(
      f"learning_rate.peak=0.3{os.sep}seed_0{os.sep}log.txt", second
    )
    self.assertIn("results.md", os.listdir(self.workdir))
    # Another sweep cannot have the directory; more values of an axis can.
    with mock.patch.object(local, "run", programs.fail_second):
      text = self._last_words("--grid=num_epochs=1,2")
      self.assertIn("sweep.fields", text)
      text = self._last_words("--grid=learning_rate.peak=0.1,0.3,1")
      self.assertIn("1 of 3 trials failed", text)

  def test_data_that_no_trial_finds(self):
    data_dir = os.path.join(self.get_temp_dir(), "empty")
    os.makedirs(data_dir, exist_ok=True)
    arguments = [
      "--override=data.name=cifar10_binary",
      "--override=data.validation_split=test",
      f"--data_dir={data_dir}",
      "--processes=1",
    ]
    with mock.patch.object(local, "_Pool") as pool:
      text = self._last_words(_RATES, *arguments)
      self.assertLen(text.splitlines(), 1)
      self.assertIn(f"{data_dir}{os.sep}data_batch_1.bin cannot be", text)
      pool.assert_not_called()
      # Where one finds its data, each tells what it lacks.
      self.workdir += "_of_two_data_sets"
      pool.return_value.run.side_effect = lambda todo, before: {
        one.trial.name: one for one in programs.fail_second(todo, self.workdir)
      }
      text = self._last_words(
        "--grid=data.name=cifar10_binary,digits", *arguments[1:]
      )
      self.assertIn("1 of 2 trials failed", text)

  def test_what_is_told_of_trials_that_fail(self):
    todo = trials.make(
      "image_classification",
      [_SGD.removeprefix("--config=")],
      {"learning_rate.peak": ["0.1", "0.2", "0.3"]},
      seeds=2,
    )
    for i, trial in enumerate(todo):
      reason = "No data." if i != 1 else "Another reason."
      outcomes.write(trial, self.workdir, outcomes.FAILED, reason)
    found = [outcomes.read(trial, self.workdir) for trial in todo]
    with (
      contextlib.redirect_stderr(io.StringIO()) as told,
      progress.Progress(todo, []) as bar,
    ):
      for one in found:
        bar.finished(one)
    with self.assertRaises(UserError) as raised:
      program.check_none_failed(found)
    lines = [one for one in told.getvalue().split("\n") if "Failed: " in one]
    self.assertLen(lines, 6)
    for text in ("".join(lines), str(raised.exception)):
      self.assertEqual(text.count("No data."), 1)
      self.assertEqual(text.count("Another reason."), 1)
    self.assertIn(todo[0].name, lines[-1])
    self.assertIn("and 2 more: No data. Log: ", str(raised.exception))
    self.assertIn("6 of 6 trials failed", str(raised.exception))

  def test_the_directory_of_a_run(self):
    os.makedirs(self.workdir)
    with open(os.path.join(self.workdir, "config.json"), "w") as file:
      file.write("{}")
    self.assertIn("holds a run of a trainer", self._last_words(_RATES))

  def test_options(self):
    data_dir = os.path.relpath(command_line.ROOT)
    with mock.patch.object(
      local, "run", side_effect=programs.fail_second
    ) as run:
      self._last_words(
        _RATES,
        "--processes=3",
        "--stop_early=median",
        "--deterministic",
        f"--data_dir={data_dir}",
      )
    _, options = run.call_args
    self.assertEqual(options["processes"], 3)
    self.assertEqual(options["rule"], "median")
    self.assertTrue(options["setup"].deterministic)
    self.assertEqual(options["setup"].data_dir, str(command_line.ROOT))


if __name__ == "__main__":
  tf.test.main()
