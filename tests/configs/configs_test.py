"""Every config builds what it describes, and trains on data of that format."""

import json
import os
import tempfile

import keras
import ml_collections
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import lookahead_tf
from lookahead_tf import Lookahead
from tests.configs import experiments, tiny_data
from trainers import metrics
from trainers.devices import Runtime
from trainers.experiment import read_learning_rate
from trainers.image_classification import experiment, sources, train

ALL = experiments.all_of(*experiments.IMAGES)
# The words for a Lookahead.
_LOOKAHEADS = {"lookahead", "own_statistics", "slow_momentum"}
# Each source, each pipeline and each optimizer once. The digits are what
# tests of the trainer train on.
TRAINED = (
  ("cifar", "cifar100,sgd"),
  ("cifar", "cifar10,polyak"),
  ("imagenet", "resnet152,tpu,lookahead"),
  ("image_folder", "adamw,lookahead"),
)


def _shrink(config):
  """Makes an experiment one of seconds, of the same kind."""
  config.update_from_flattened_dict(
    {
      "global_batch_size": 8,
      "num_epochs": 1.0,
      "learning_rate.warmup": config.learning_rate.warmup / 10,
      "data.image_size": min(32, config.data.image_size),
      "data.shuffle_buffer": 16,
      "model.blocks_per_stage": (1,),
      "steps_per_loop": 100,
    }
  )
  if config.data.pipeline == "large_images":
    config.data.eval_resize = 36
  else:
    config.model.width = 4
  return config


def _unpack(config):
  """Returns the experiment on made-up data of the size of the real data."""
  return experiment.unpack(
    config,
    sources.made_up(config.data.name),
    tf.distribute.get_strategy(),
  )


class ConfigsTest(tf.test.TestCase, parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    directory = tempfile.TemporaryDirectory()
    cls.addClassCleanup(directory.cleanup)
    cls.data_dir = tiny_data.write(directory.name)
    cls.folder = tiny_data.write_folder(os.path.join(directory.name, "folder"))

  @parameterized.parameters(*ALL)
  def test_optimizer(self, name, text):
    config = experiments.get(name, text)
    self.assertIsInstance(config, ml_collections.ConfigDict)
    config.lock()
    optimizer = _unpack(config).optimizer
    words = text.split(",")
    is_lookahead = not _LOOKAHEADS.isdisjoint(words)
    self.assertEqual(isinstance(optimizer, Lookahead), is_lookahead)
    if is_lookahead:
      optimizer = optimizer.inner_optimizer
    self.assertIsInstance(
      optimizer,
      keras.optimizers.AdamW if "adamw" in words else keras.optimizers.SGD,
    )
    self.assertEqual(optimizer.use_ema, "polyak" in words)

  @parameterized.parameters(*TRAINED)
  def test_trains(self, name, text):
    config = _shrink(experiments.get(name, text).lock())
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    workdir = os.path.join(self.get_temp_dir(), self.id().split()[0])
    is_folder = name == "image_folder"
    data_dir = self.folder if is_folder else self.data_dir
    run = Runtime(strategy, workdir, data_dir)
    train.train(experiment.load(config, run), run)
    *_, last = metrics.read(workdir)
    self.assertEqual(last["step"], 4)
    self.assertTrue(np.isfinite(last["eval/loss"]))
    self.assertGreaterEqual(last["eval/accuracy"], 0)
    with open(os.path.join(workdir, "source.json")) as file:
      classes = json.load(file)["class_names"]
    expected = {"cifar100": 100, "imagenet2012": 1000, "image_folder": 4}
    self.assertLen(classes, expected.get(config.data.name, 10))

  @parameterized.parameters(
    ("sgd", 0.05, 1e-3),
    ("polyak", 0.3, 1e-3),
    ("adamw", 3e-4, 0.0),
    ("lookahead", 0.1, 1e-3),
  )
  def test_the_papers_cifar_values(self, kind, rate, penalty):
    for data in ("cifar10", "cifar100"):
      config = experiments.get("cifar", f"{data},{kind}")
      self.assertEqual(config.data.name, data)
      self.assertEqual(config.learning_rate.peak, rate)
      self.assertEqual(config.learning_rate.decay_at, (60, 120, 160))
      self.assertEqual(config.learning_rate.decay_factor, 0.2)
      self.assertEqual(config.l2_penalty, penalty)
      self.assertEqual(config.num_epochs, 200)
      self.assertEqual(config.global_batch_size, 128)
      if kind != "adamw":
        self.assertEqual(config.optimizer.arguments.momentum, 0.9)

  @parameterized.parameters("lookahead", "sgd")
  def test_the_speed_run(self, kind):
    config = experiments.get("cifar", f"speedrun,{kind}")
    config.data.name = "cifar10"  # Of 50,000 images, in made-up form.
    config.data.validation_fraction = None
    unpacked = _unpack(config)
    self.assertEqual(unpacked.plan.total_steps, 476)
    # As cifar10-airbench computes them for the summed loss.
    kilostep = 1024 * (1 + 1 / (1 - 0.85))
    rate = 11.5 / kilostep
    decay = 0.0153 * 1024 / kilostep / rate
    learning_rate = read_learning_rate(config, 48, 476)
    self.assertAllClose(learning_rate.peak, 1024 * rate)
    self.assertAllClose(config.l2_penalty, decay / 1024)
    self.assertAllClose(learning_rate.warmup, 0.23 * 476)
    self.assertEqual(unpacked.objective.whitening_bias_steps, 3 * 48)
    if kind == "lookahead":
      lookahead = unpacked.optimizer
      self.assertEqual(lookahead.sync_period, 5)
      self.assertAllClose(
        lookahead.slow_step_size, 1 - 0.95**5 * (5 / 476) ** 3, rtol=1e-6
      )

  def test_the_parts_of_the_speed_runs_lookahead(self):
    whole = experiments.get("cifar", "speedrun,lookahead")
    self.assertTrue(whole.lookahead.synchronize_statistics)
    other = experiments.get("cifar", "speedrun,own_statistics")
    self.assertFalse(_unpack(other).synchronize_statistics)
    other.lookahead.synchronize_statistics = True
    self.assertEqual(other.to_dict(), whole.to_dict())
    other = experiments.get("cifar", "speedrun,slow_momentum")
    unpacked = _unpack(other)
    self.assertTrue(unpacked.synchronize_statistics)
    snoo = lookahead_tf.snoo(keras.optimizers.SGD(), sync_period=5)
    for name in ("sync_period", "slow_momentum", "slow_nesterov"):
      self.assertEqual(
        getattr(unpacked.optimizer, name), getattr(snoo, name), name
      )
    self.assertAllClose(unpacked.optimizer.slow_step_size, snoo.slow_step_size)
    other.lookahead = whole.lookahead
    self.assertEqual(other.to_dict(), whole.to_dict())

  def test_the_papers_lookahead_and_weight_decay(self):
    for name, alpha in (("cifar", 0.8), ("imagenet", 0.5)):
      lookahead = experiments.get(name, "lookahead").lookahead
      self.assertEqual(lookahead.sync_period, 5)
      self.assertEqual(lookahead.slow_step_size, alpha)
    # Decoupled, a step takes rate * decay of a parameter without a gradient.
    config = experiments.get("cifar", "cifar10,adamw")
    optimizer = _unpack(config).optimizer
    variable = keras.Variable([2.0])
    optimizer.apply([tf.zeros(1)], [variable])
    self.assertAllClose(variable, [2.0 * (1 - 3e-4)], rtol=1e-7)

  @parameterized.product(
    model=["resnet50", "resnet152"],
    is_short=[False, True],
    is_on_tpu=[False, True],
    kind=["sgd", "lookahead"],
  )
  def test_imagenet_values(self, model, is_short, is_on_tpu, kind):
    words = [model, *["aggressive"] * is_short, *["tpu"] * is_on_tpu, kind]
    config = experiments.get("imagenet", ",".join(words))
    self.assertEqual(config.num_epochs, 60 if is_short else 90)
    self.assertEqual(
      config.learning_rate.decay_at, (30, 48, 58) if is_short else (30, 60)
    )
    self.assertEqual(config.learning_rate.decay_factor, 0.1)
    self.assertEqual(config.l2_penalty, 1e-4)
    self.assertEqual(
      config.model.blocks_per_stage,
      (3, 8, 36, 3) if model == "resnet152" else (3, 4, 6, 3),
    )
    self.assertEqual(config.data.name, "imagenet2012")
    self.assertEqual(config.data.pipeline, "large_images")
    self.assertEqual(config.data.image_size, 224)
    self.assertEqual(config.data.eval_resize, 256)
    self.assertTrue(config.data.horizontal_flip)
    self.assertEqual(config.optimizer.arguments.momentum, 0.9)
    self.assertEqual(config.global_batch_size, 1024 if is_on_tpu else 256)
    self.assertEqual(config.learning_rate.peak, 0.4 if is_on_tpu else 0.1)
    self.assertEqual(config.learning_rate.warmup, 5 * is_on_tpu)


if __name__ == "__main__":
  tf.test.main()
