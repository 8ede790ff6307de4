"""Every translation config trains on data of its format, and is the paper's."""

import os

import keras
import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from absl.testing import parameterized

from lookahead_tf import Lookahead
from tests.configs import experiments
from tests.trainers.translation import small_run
from trainers import metrics
from trainers.devices import Runtime
from trainers.translation import experiment, train

# Each source and each optimizer once. Text files are what tests of the trainer
# train on.
TRAINED = (
  ("phrases", "lookahead"),
  ("multi30k", "no_warmup,adam"),
  ("wmt14", "base,adafactor"),
)
_KINDS = {
  "adam": keras.optimizers.Adam,
  "adafactor": keras.optimizers.Adafactor,
  "lookahead": Lookahead,
}


def _shrink(config):
  """Makes an experiment one of three steps, of the same kind."""
  small = small_run.config()
  for field in ("vocabulary.size", "model", "decoding"):
    config.update_from_flattened_dict(
      {
        name: value
        for name, value in small_run.flatten(small).items()
        if name == field or name.startswith(f"{field}.")
      }
    )
  config.update_from_flattened_dict(
    {
      "num_steps": 3,
      "steps_per_loop": 3,
      "checkpoint_every_steps": 1,
      "average_checkpoints": min(3, config.average_checkpoints),
      "global_batch_tokens": 128,
      "data.max_length": 32,
      "eval_sentences": 4,
      "eval_beam_size": None,
      "decoding.beam_size": 1,
      "jit_compile": False,
    }
  )
  return config


def _write_wmt14(data_dir):
  """Writes phrases in the format of TFDS's wmt14_translate/de-en."""
  tfds.dataset_builders.store_as_tfds_dataset(
    name="wmt14_translate",
    version="1.0.0",
    config="de-en",
    features=tfds.features.Translation(languages=("de", "en")),
    split_datasets={
      name: tf.data.Dataset.from_tensor_slices(
        dict(zip(("en", "de"), map(list, zip(*pairs))))
      )
      for name, pairs in small_run.splits().items()
    },
    data_dir=data_dir,
    disable_shuffling=True,
  )


class TranslationConfigsTest(tf.test.TestCase, parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.data_dir = os.path.join(cls.get_temp_dir(cls()), "data")
    small_run.write_text(cls.data_dir)
    for name, pattern in (("train", "train"), ("validation", "val")):
      for side, language in (("source", "en"), ("target", "de")):
        os.link(
          os.path.join(cls.data_dir, f"{name}.{side}"),
          os.path.join(cls.data_dir, f"{pattern}.{language}.gz"),
        )
    _write_wmt14(cls.data_dir)

  @parameterized.parameters(*TRAINED)
  def test_trains(self, name, text):
    config = _shrink(experiments.get(name, text).lock())
    workdir = os.path.join(self.get_temp_dir(), self.id().split()[0])
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    run = Runtime(strategy, workdir, self.data_dir)
    train.train(experiment.load(config, run), run)
    *_, last = metrics.read(workdir)
    self.assertEqual(last["step"], 3)
    for metric in ("train/loss", "eval/loss", "eval/bleu"):
      self.assertTrue(np.isfinite(last[metric]))
    is_scored = os.path.exists(os.path.join(workdir, "test.translations"))
    self.assertEqual(is_scored, name != "multi30k")

  @parameterized.parameters(*experiments.all_of(*experiments.TRANSLATIONS))
  def test_optimizer(self, name, text):
    config = _shrink(experiments.get(name, text))
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    optimizer = experiment.unpack(config, None, strategy).optimizer
    (kind,) = {*text.split(",")} & {*_KINDS}
    self.assertIsInstance(optimizer, _KINDS[kind])
    if isinstance(optimizer, Lookahead):
      self.assertIsInstance(optimizer.inner_optimizer, keras.optimizers.Adam)

  @parameterized.parameters(*experiments.all_of("wmt14"))
  def test_the_papers_values(self, name, text):
    config = experiments.get(name, text)
    is_big = "big" in text.split(",")
    self.assertEqual(config.global_batch_tokens, 8 * 2048)
    self.assertEqual(config.vocabulary.size, 32_000)
    self.assertEqual(config.label_smoothing, 0.1)
    self.assertEqual(config.model.d_model, 1024 if is_big else 512)
    self.assertEqual(config.model.d_ff, 4096 if is_big else 2048)
    self.assertEqual(config.model.num_heads, 16 if is_big else 8)
    self.assertEqual(config.model.num_layers, 6)
    self.assertEqual(config.model.dropout, 0.3 if is_big else 0.1)
    if config.lookahead:
      self.assertEqual(config.lookahead.sync_period, 10)
      self.assertEqual(config.lookahead.slow_step_size, 0.5)
    rate = config.learning_rate
    steps = 10_000 if "adafactor" in text else 8_000
    self.assertEqual(rate.decay_at, (steps,))
    has_warmup = "no_warmup" not in text and "adafactor" not in text
    self.assertEqual(rate.warmup, 8_000 if has_warmup else 0)
    # In tensor2tensor's normalized form, which the width divides.
    normalized = rate.peak * config.model.d_model**0.5
    if config.lookahead:
      self.assertAllClose(normalized, 0.04)
    elif "adafactor" in text:
      self.assertAllClose(rate.peak, 0.01)
    else:
      self.assertAllClose(normalized, 2 / 8_000**0.5)


if __name__ == "__main__":
  tf.test.main()
