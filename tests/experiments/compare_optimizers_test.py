import os
from unittest import mock

import tensorflow as tf
from absl.testing import parameterized

from experiments import compare_optimizers, local
from tests.experiments import programs
from tests.trainers import command_line


def _path(words):
  return f"{command_line.ROOT}/configs/{words}"


def _config(words):
  return f"--config={_path(words)}"


class MakeTrialsTest(tf.test.TestCase):
  def test_multiples_of_each_configs_own_rate(self):
    made = compare_optimizers.make_trials(
      "image_classification",
      [_path("image_folder.py:sgd"), _path("image_folder.py:lookahead")],
      factors=[0.3, 1],
      seeds=2,
      overrides=["num_epochs=2"],
    )
    # The configs' rates are .3 and 1.
    self.assertEqual(
      [trial.name for trial in made],
      [
        f"image_folder_{word}/learning_rate_{rate}/seed_{seed}"
        for word, rates in (("sgd", (0.09, 0.3)), ("lookahead", (0.3, 1)))
        for rate in rates
        for seed in (0, 1)
      ],
    )
    for trial in made:
      rate = trial.name.split("/")[1].removeprefix("learning_rate_")
      self.assertEqual(trial.config.learning_rate.peak, float(rate))
      self.assertEqual(trial.config.seed, trial.seed)
      self.assertEqual(trial.config.num_epochs, 2)


class CompareOptimizersTest(
  command_line.Mistakes, tf.test.TestCase, parameterized.TestCase
):
  def _run(self, *arguments):
    self.workdir = os.path.join(self.get_temp_dir(), self.id().split()[0])
    command_line.run(
      compare_optimizers.main,
      [_config("digits.py:sgd"), f"--workdir={self.workdir}", *arguments],
      compare_optimizers.define_flags,
    )

  def test_a_run_that_fails(self):
    with mock.patch.object(
      local, "run", side_effect=programs.fail_second
    ) as run:
      status, text = command_line.last_words(
        lambda: self._run("--deterministic", "--processes=3")
      )
    self.assertEqual(status, 1)
    first, second = text.splitlines()
    self.assertIn("1 of 3 trials failed", first)
    self.assertIn("digits_sgd/learning_rate_0.1/seed_1: No data.", second)
    _, options = run.call_args
    self.assertEqual(options["processes"], 3)
    self.assertTrue(options["setup"].deterministic)
    self.assertContainsSubset(
      ["results.md", "curves.png"], os.listdir(self.workdir)
    )
    with open(os.path.join(self.workdir, "results.md")) as file:
      table = file.read()
    self.assertRegex(table, r"\| digits_sgd +\| 0\.1 +\| 2 of 3 +\| 50\.00 ± 0")
    self.assertIn("python -m experiments.compare_optimizers", table)

  @parameterized.parameters(
    (["--override=batch_size=16"], "Did you mean --override=global_batch_size"),
    (["--override=num_epochs=x"], "--override=num_epochs=x"),
    (["--override=num_epochs"], "--override=num_epochs=VALUE"),
    (["--override=num_epochs=None"], "num_epochs must have a value"),
    (["--config.num_epochs=3"], "Did you mean --override=num_epochs=3?"),
    (["--epochs=3"], "Did you mean --override=num_epochs=3?"),
    ([_config("digits.py:sdg")], "digits.py:sdg: 'sdg' is not a word"),
    ([_config("digit.py")], "Did you mean"),
    (["--config=exp[1].py"], "--config=exp[1] must be a path without [ and ]"),
    (["--learning_rate_factors=0"], "Received: '0'"),
    (["--seeds=0"], "--seeds must be a positive integer"),
    ([_config("digits.py:sgd")], "Two trials are the same"),
    (["--strategy=multi_worker"], "Received: --strategy=multi_worker"),
    (["--processes=0"], "--processes must be a positive integer"),
    (["--trainer=speech"], "language_modeling|translation>"),
    (["more"], "['more']"),
  )
  def test_a_mistake_ends_with_one_sentence(self, arguments, message):
    self.assertMistake(lambda: self._run(*arguments), message)
    self.assertFalse(os.path.exists(self.workdir))

  @parameterized.parameters(([], "--workdir"), (["--workdir=r[1]"], "r[1]"))
  def test_the_workdir(self, arguments, message):
    _, text = command_line.last_words(
      lambda: command_line.run(
        compare_optimizers.main,
        [_config("digits.py:sgd"), *arguments],
        compare_optimizers.define_flags,
      )
    )
    self.assertStartsWith(text, "Error: --workdir")
    self.assertIn(message, text)


if __name__ == "__main__":
  tf.test.main()
