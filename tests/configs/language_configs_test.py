"""Every language modeling config trains, and is the paper's."""

import json
import os

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from lookahead_tf import Lookahead
from tests.configs import experiments
from tests.trainers.language_modeling import small_run
from trainers import averaging, metrics
from trainers.devices import Runtime
from trainers.language_modeling import experiment, train

# Shrunken, the others are the same programs as one of these.
TRAINED = (
  ("ptb", "large,nt_asgd", "ptb.{}.txt"),
  ("wikitext2", "middle,sgd,lookahead", "wiki.{}.tokens"),
)
_KINDS = {
  "adam": keras.optimizers.Adam,
  "nt_asgd": averaging.NonMonotonicSgd,
  "sgd": keras.optimizers.SGD,
}


def _shrink(config):
  """Makes an experiment one of an epoch of a few steps, of the same kind."""
  config.update_from_flattened_dict(
    {
      "num_epochs": 1.0,
      "global_batch_size": 8,
      "bptt": 20,
      "bptt_lengths": (20,),
      "model.embedding_size": 6,
      "model.hidden_size": 8,
      "eval_batch_size": 2,
    }
  )
  return config


class LanguageConfigsTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.parameters(*TRAINED)
  def test_trains(self, name, text, pattern):
    config = _shrink(experiments.get(name, text).lock())
    directory = os.path.join(self.get_temp_dir(), name)
    small_run.write_text(directory)
    for split in ("train", "valid", "test"):
      os.rename(
        os.path.join(directory, f"{split}.txt"),
        os.path.join(directory, pattern.format(split)),
      )
    workdir = os.path.join(directory, "run")
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    run = Runtime(strategy, workdir, directory)
    train.train(experiment.load(config, run), run)
    *_, last = metrics.read(workdir)
    for metric in ("train/loss", "eval/loss", "eval/perplexity"):
      self.assertTrue(np.isfinite(last[metric]))
    with open(os.path.join(workdir, "results.json")) as file:
      self.assertEqual(json.load(file)["split"], "test")

  @parameterized.parameters(*experiments.all_of(*experiments.LANGUAGE_MODELS))
  def test_optimizer(self, name, text):
    config = experiments.get(name, text).lock()
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    optimizer = experiment.unpack(config, None, strategy).optimizer
    words = {*text.split(",")}
    self.assertEqual(isinstance(optimizer, Lookahead), "lookahead" in words)
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    (kind,) = words & {*_KINDS}
    self.assertIs(type(optimizer), _KINDS[kind])
    self.assertEqual(optimizer.global_clipnorm, 0.25)
    self.assertEqual(optimizer.weight_decay, 1.2e-6)

  @parameterized.parameters(
    *(case for case in experiments.all_of("ptb") if "large" in case[1])
  )
  def test_the_papers_values(self, name, text):
    config = experiments.get(name, text)
    self.assertEqual(config.num_epochs, 750)
    self.assertEqual(config.global_batch_size, 80)
    self.assertEqual(config.bptt, 70)
    self.assertEqual(
      config.model.to_dict(),
      {
        "embedding_size": 400,
        "hidden_size": 1150,
        "num_layers": 3,
        "word_dropout": 0.1,
        "input_dropout": 0.65,
        "hidden_dropout": 0.3,
        "output_dropout": 0.4,
        "weight_dropout": 0.5,
      },
    )
    self.assertEqual(config.activation_penalty, 2)
    self.assertEqual(config.temporal_penalty, 1)
    self.assertEqual(config.plateau.to_dict(), {"patience": 15, "factor": 0.5})
    adam = (0.1, 0.05, 0.01, 0.005, 0.001, 0.0005, 0.0001)
    sgd = (50, 30, 10, 5, 2.5, 1, 0.1)
    grid = adam if "adam" in text.split(",") else sgd
    self.assertIn(config.learning_rate.peak, grid)
    if config.lookahead:
      self.assertIn(config.lookahead.sync_period, (5, 10))
      self.assertIn(config.lookahead.slow_step_size, (0.5, 0.8))


if __name__ == "__main__":
  tf.test.main()
