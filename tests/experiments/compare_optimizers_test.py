import os

import tensorflow as tf
from absl.testing import parameterized

from experiments import compare_optimizers
from tests.trainers import command_line


def _config(words):
  return f"--config={command_line.ROOT}/configs/{words}"


class CompareOptimizersTest(tf.test.TestCase, parameterized.TestCase):
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
    (["--trainer=speech"], "language_modeling|translation>"),
    (["more"], "['more']"),
  )
  def test_a_mistake_ends_with_one_sentence(self, arguments, message):
    workdir = os.path.join(self.get_temp_dir(), self.id().split()[0])
    status, text = command_line.last_words(
      lambda: command_line.run(
        compare_optimizers.main,
        [_config("digits.py:sgd"), f"--workdir={workdir}", *arguments],
        compare_optimizers.define_flags,
      )
    )
    self.assertEqual(status, 1)
    self.assertStartsWith(text, "Error: ")
    self.assertIn(message, text)
    self.assertLen(text.splitlines(), 1)
    self.assertFalse(os.path.exists(workdir))

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
