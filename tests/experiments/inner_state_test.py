import math
import os

import tensorflow as tf
from absl.testing import parameterized

from experiments import inner_state, small_network
from tests.experiments import programs
from tests.trainers import command_line


class InnerStateTest(
  command_line.Mistakes, tf.test.TestCase, parameterized.TestCase
):
  def _run(self, *arguments):
    self.workdir = os.path.join(self.get_temp_dir(), self.id().split()[0])
    programs.run(
      inner_state.main,
      [f"--workdir={self.workdir}", *arguments],
      inner_state.define_flags,
    )

  def test_the_best_rate_is_by_the_last_accuracies(self):
    by_rate = {
      0.1: [[99.0, 90.0], [99.0, 92.0]],
      0.3: [[10.0, 91.0], [10.0, 93.0]],
      1.0: [[99.0, math.nan], [99.0, 100.0]],
    }
    self.assertEqual(inner_state.best_rate(by_rate), 0.3)

  def test_trains_each_at_each_momentum_and_rate(self):
    self._run(
      "--momenta=0.5", "--rate_factors=0.2,1e38", "--seeds=1", "--epochs=1"
    )
    with open(os.path.join(self.workdir, "results.md")) as file:
      rows = [line for line in file if line.startswith("| 0.5 ")]
    self.assertLen(rows, 4)
    cells = {}
    for row in rows:
      _, _, name, *cells[name.strip()] = (c.strip() for c in row.split("|"))
    for name, lookahead in (
      ("SGD", ()),
      ("Lookahead, reset", (5, 0.5, "reset")),
    ):
      optimizer = small_network.make_optimizer(0.1, 0.5, *lookahead)
      training = small_network.Training(optimizer, seed=0)
      training.steps(small_network.STEPS_PER_EPOCH)
      accuracy = training.evaluate(training.slow_weights()).accuracy
      text = f"{accuracy:.2f}"
      self.assertEqual(cells[name][:3], ["0.1", text, text])
      self.assertEqual(cells[name][3], "1 of 1 diverged")
    self.assertLen({of[1] for of in cells.values()}, 4)
    self.assertIn("inner_state_accuracy.png", os.listdir(self.workdir))

  @parameterized.parameters(
    (["--momenta=0.9,1"], "--momenta", "'1'"),
    (["--momenta=x"], "--momenta", "'x'"),
    (["--rate_factors=nan"], "--rate_factors", "'nan'"),
    (["--rate_factors=-1"], "--rate_factors", "'-1'"),
    (["--epochs=0"], "--epochs", "'0'"),
  )
  def test_a_mistake_ends_with_one_sentence(self, arguments, *message):
    self.assertMistake(lambda: self._run(*arguments), *message)
    self.assertFalse(os.path.exists(self.workdir))


if __name__ == "__main__":
  tf.test.main()
