import math
import os
from unittest import mock

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from experiments import slow_rules, small_images, small_network
from tests.experiments import programs
from tests.trainers import command_line


def _run(workdir, *arguments):
  programs.run(
    slow_rules.main,
    [f"--workdir={workdir}", *arguments],
    slow_rules.define_flags,
  )


class RunTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.parameters("SNOO, k 5", "EMA-Nesterov", "GPA, n 5")
  def test_a_run_after_another_is_as_the_first(self, name):
    after, first = (
      small_network.Training(slow_rules.make_optimizer("SGD", name, 10), seed)
      for seed in (3, 0)
    )
    slow_rules.run(after, 0.2, seed=3, updates=7)
    for training in (after, first):
      slow_rules.run(training, 0.1, seed=0, updates=10)
    self.assertAllEqual(after.slow_weights(), first.slow_weights())

  def test_the_learning_rate_falls_along_a_cosine(self):
    optimizer = keras.optimizers.SGD()
    training = small_network.Training(optimizer, 0)
    rates = []

    def step():
      rates.append(float(optimizer.learning_rate))
      return 0.0

    with mock.patch.object(training, "step", step):
      slow_rules.run(training, 0.2, seed=0, updates=4)
    half = math.sqrt(0.5)
    self.assertAllClose(
      rates, [0.2, 0.1 * (1 + half), 0.1, 0.1 * (1 - half)], rtol=1e-6
    )


class ProgramTest(
  command_line.Mistakes, tf.test.TestCase, parameterized.TestCase
):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    names = ("alone", "GPA, n 5")
    for name, value in (
      ("METHODS", {name: slow_rules.METHODS[name] for name in names}),
      ("RATES", {"SGD": (0.01, 0.02, 1e37)}),
    ):
      patch = mock.patch.object(slow_rules, name, value)
      patch.start()
      cls.addClassCleanup(patch.stop)
    cls.workdir = os.path.join(cls.get_temp_dir(cls()), "slow_rules")
    cls.arguments = ["--updates=5", "--seeds=2", "--inner_optimizer=SGD"]
    _run(cls.workdir, *cls.arguments)

  def _rows(self):
    with open(os.path.join(self.workdir, "results.md")) as file:
      rows = [line.split("|")[2:-1] for line in file if line.startswith("|")]
    return {name.strip(): [c.strip() for c in cells] for name, *cells in rows}

  def test_the_table_has_each_rule_at_each_rate(self):
    accuracies = {}
    # GPA's gradients move the weights as far as those of a momentum of .9.
    for name, factor in (("alone", 1), ("GPA, n 5", 10)):
      optimizer = slow_rules.make_optimizer("SGD", name, 5)
      training = small_network.Training(optimizer, 0)
      accuracies[name] = np.array(
        [
          [
            slow_rules.run(training, factor * rate, seed, 5).accuracy
            for seed in (0, 1)
          ]
          for rate in (0.01, 0.02)
        ]
      )
      *cells, high, best, _, _ = self._rows()[name]
      self.assertEqual(
        cells,
        [f"{x.mean():.2f} ± {x.std(ddof=1):.2f}" for x in accuracies[name]],
      )
      self.assertEqual(high, "2 of 2 diverged")
      self.assertEqual(
        best, ["0.01", "0.02"][accuracies[name].mean(1).argmax()]
      )
    one, other = (x[x.mean(1).argmax()] for x in accuracies.values())
    ahead = other - one
    self.assertEqual(
      self._rows()["GPA, n 5"][-1],
      f"{ahead.mean():+.2f} ± {ahead.std(ddof=1) / math.sqrt(2):.2f}",
    )
    self.assertIn("slow_rules_digits.png", os.listdir(self.workdir))

  def test_runs_that_are_over_are_not_made_again(self):
    before = self._rows()
    with mock.patch.object(slow_rules, "run", side_effect=AssertionError):
      _run(self.workdir, *self.arguments)
      self.assertEqual(self._rows(), before)
      with self.assertRaises(AssertionError):
        _run(self.workdir, *self.arguments, "--seeds=3")

  @parameterized.parameters(
    (["--updates=6"], "updates: 5 -> 6"),
    (["--updates=0"], "--updates"),
    (["--data=cifar"], "--data"),
    (["--data=image_folder"], "--data_dir=FOLDER"),
    (["--data_dir=photos"], "--data_dir=photos"),
    (["--inner_optimizer=Adam"], "--inner_optimizer"),
  )
  def test_a_mistake_ends_with_one_sentence(self, arguments, message):
    self.assertMistake(lambda: _run(self.workdir, *arguments), message)


class SmallImagesTest(tf.test.TestCase):
  def test_images_are_made_small(self):
    folder = os.path.join(self.get_temp_dir(), "photos")
    # Squares of 2 x 2 pixels, of which one pixel is made.
    small = np.random.default_rng(0).integers(256, size=(3, 16, 16, 3))
    large = small.repeat(2, axis=1).repeat(2, axis=2).astype("uint8")
    for i, name in enumerate(("train/a", "train/b", "validation/a")):
      os.makedirs(os.path.join(folder, name))
      keras.utils.save_img(
        os.path.join(folder, name, "0.png"), large[i], scale=False
      )
    os.makedirs(os.path.join(folder, "validation/b"))
    keras.utils.save_img(
      os.path.join(folder, "validation/b/0.png"), large[0], scale=False
    )
    task = small_images.load(folder)
    expected = (small / 255 - 0.5) / 0.25
    self.assertAllClose(task.data.train_images, expected[:2], atol=1e-5)
    self.assertAllClose(task.data.held_out_images, expected[[2, 0]], atol=1e-5)
    for labels in (task.data.train_labels, task.data.held_out_labels):
      self.assertAllEqual(labels, [0, 1])
    self.assertEqual(task.make_model()(expected).shape, (3, 2))


if __name__ == "__main__":
  tf.test.main()
