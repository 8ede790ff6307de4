import functools
import math
import multiprocessing
import os
from unittest import mock

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from experiments import local_steps, replicas, small_network
from tests.experiments import programs
from tests.lookahead_tf import algorithm1, outer_algorithms
from tests.replicas import mirrored
from tests.trainers import command_line
from trainers.errors import UserError

_RATE, _UPDATES, _BATCH, _CLASSES = 0.3, 4, 4, 3


def _run(workdir, *arguments):
  programs.run(
    local_steps.main,
    [f"--workdir={workdir}", *arguments],
    local_steps.define_flags,
  )


@functools.cache
def _linear():
  """Returns a task with a network that NumPy has too, in batches of 4."""
  random = np.random.default_rng(0)
  images = [random.normal(size=(n, 2)).astype("float32") for n in (10, 7)]
  labels = [random.integers(_CLASSES, size=n, dtype=np.int32) for n in (10, 7)]
  data = small_network.Data(images[0], labels[0], images[1], labels[1])

  def make_model():
    return keras.Sequential([keras.Input((2,)), keras.layers.Dense(_CLASSES)])

  return small_network.Task(data, make_model, _BATCH)


def _probabilities(weights, images):
  exponentials = np.exp(images @ weights[0] + weights[1])
  return exponentials / exponentials.sum(axis=1, keepdims=True)


class _Falling(algorithm1.Sgd):
  """SGD whose learning rate falls to 0 along a cosine."""

  count = 0

  def update(self, weights, gradients):
    angle = math.pi * self.count / _UPDATES
    self.learning_rate = _RATE * (1 + math.cos(angle)) / 2
    self.count += 1
    return super().update(weights, gradients)


class TrainingTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.parameters(
    ("mean", outer_algorithms.lookahead(1.0)),
    ("momentum .9", outer_algorithms.momentum(0.7, 0.9, True)),
  )
  def test_replicas_train_on_their_parts_of_a_batch(self, rule, algorithm):
    task = _linear()
    training = replicas.Training(
      local_steps.Form("SGD", 2, rule), task, _UPDATES, mirrored()
    )
    training.run(0.9, seed=1)  # What is trained before makes no difference.
    found = training.run(_RATE, seed=3)
    # Two batches of 4 are an epoch of 10 images.
    random = np.random.default_rng(3)
    orders = [random.permutation(10)[:8] for _ in range(2)]
    batches = np.reshape(orders, (_UPDATES, 2, _BATCH // 2))

    def gradient(weights, replica, step):
      rows = batches[step, replica]
      images = task.data.train_images[rows].astype("float64")
      error = _probabilities(weights, images)
      error[np.arange(2), task.data.train_labels[rows]] -= 1
      return [images.T @ error / 2, error.mean(axis=0)]

    keras.utils.set_random_seed(3)
    initial = [w.astype("float64") for w in task.make_model().get_weights()]

    def expected(steps):
      return outer_algorithms.local_steps(
        [_Falling(_RATE, 0.9) for _ in range(2)],
        gradient,
        initial,
        steps,
        2,
        algorithm,
      )[1:]

    slow, drift = expected(_UPDATES)
    self.assertAllClose(
      training.slow_weights, np.concatenate([w.reshape(-1) for w in slow])
    )
    self.assertAllClose(found.drift, drift, 1e-4, 1e-6)
    self.assertAllClose(found.half_way, expected(2)[1], 1e-4, 1e-6)
    self.assertEqual(found.bytes_sent, 4 * 3 * _CLASSES / 2)
    held_out = _probabilities(slow, task.data.held_out_images)
    of_label = held_out[np.arange(7), task.data.held_out_labels]
    self.assertAllClose(found.loss, -np.log(of_label).mean(), 1e-5)
    is_right = held_out.argmax(axis=1) == task.data.held_out_labels
    self.assertAllClose(found.accuracy, 100 * is_right.mean(), 1e-5)

  def test_synchronous_training_is_that_of_one_device(self):
    task = _linear()
    training = replicas.Training(
      local_steps.Form("AdamW"), task, _UPDATES, mirrored()
    )
    found = training.run(_RATE, seed=3)
    self.assertEqual(found.drift, 0.0)
    self.assertEqual(found.bytes_sent, 4 * 3 * _CLASSES)
    one = replicas.Training(
      local_steps.Form("AdamW"), task, _UPDATES, tf.distribute.get_strategy()
    )
    one.run(_RATE, seed=3)
    self.assertAllClose(training.slow_weights, one.slow_weights)


class ProgramTest(
  command_line.Mistakes, tf.test.TestCase, parameterized.TestCase
):
  """One run of the program, with replicas in a process of their own."""

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.workdir = os.path.join(cls.get_temp_dir(cls()), "local_steps")
    cls.arguments = [
      *("--updates=4", "--sync_period=2", "--replicas=2", "--seeds=2"),
      *("--inner_optimizer=SGD", "--rule=mean"),
      *(f"--learning_rate={rate}" for rate in (0.01, 0.02, 1e37)),
    ]
    _run(cls.workdir, *cls.arguments)

  def _rows(self):
    with open(os.path.join(self.workdir, "results.md")) as file:
      rows = [line.split("|")[4:-1] for line in file if line.startswith("|")]
    return {name.strip(): [c.strip() for c in cells] for name, *cells in rows}

  def test_the_table_has_each_form_at_each_rate(self):
    task = small_network.digits()._replace(batch_size=local_steps.BATCH_SIZE)
    training = replicas.Training(
      local_steps.Form("SGD", 2, "mean"), task, 4, mirrored()
    )
    runs = [[training.run(rate, s) for s in (0, 1)] for rate in (0.01, 0.02)]
    means = [np.mean([one.accuracy for one in of]) for of in runs]
    best = runs[int(np.argmax(means))]
    synchronous, mean = (self._rows()[name] for name in ("synchronous", "mean"))
    self.assertEqual(
      [cell.partition(" ")[0] for cell in mean[:2]],
      [f"{mean:.2f}" for mean in means],
    )
    self.assertEqual(mean[2], "2 of 2 diverged")
    self.assertEqual(mean[3], f"{(0.01, 0.02)[int(np.argmax(means))]:g}")
    self.assertEqual(
      mean[5],
      ", ".join(
        f"{np.mean([getattr(one, name) for one in best]):.2g}"
        for name in ("half_way", "drift")
      ),
    )
    size = 4 * 19178 / 1000
    self.assertEqual(mean[6], f"{size / 2:.2f}")
    self.assertEqual(synchronous[4:], ["", "", f"{size:.2f}"])
    self.assertIn("local_steps_digits.png", os.listdir(self.workdir))

  def test_runs_that_are_over_are_not_made_again(self):
    before = self._rows()
    with mock.patch.object(replicas, "starting", side_effect=AssertionError):
      _run(self.workdir, *self.arguments)
      self.assertEqual(self._rows(), before)
      with self.assertRaises(AssertionError):
        _run(self.workdir, *self.arguments, "--seeds=3")

  @parameterized.parameters(
    (["--updates=6"], "updates: 4 -> 6"),
    (["--updates=5"], "--updates=5"),
    (["--replicas=5"], "--replicas=5"),
    (["--replicas=1"], "--replicas"),
    (["--data_dir=photos"], "--data_dir=photos"),
    (["--rule=median"], "--rule"),
    (["--inner_optimizer=AdamW"], "--learning_rate=0.01"),
    (["--learning_rate=-1"], "--learning_rate"),
  )
  def test_a_mistake_ends_with_one_sentence(self, arguments, message):
    self.assertMistake(
      lambda: _run(self.workdir, *self.arguments, *arguments), message
    )


class ProcessTest(tf.test.TestCase):
  def test_a_process_that_has_ended_is_a_sentence(self):
    here, there = multiprocessing.Pipe()
    there.close()
    process = replicas.Process(mock.Mock(exitcode=-9), here)
    with self.assertRaisesRegex(UserError, "exit status -9"):
      process.run(local_steps.Form("SGD"), _RATE, 0)


if __name__ == "__main__":
  tf.test.main()
