import copy

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from lookahead_tf import Lookahead
from tests import replicas
from tests.trainers.image_classification import small_run
from trainers import devices
from trainers.devices import Runtime
from trainers.errors import UserError
from trainers.image_classification import experiment, sources, splits
from trainers.image_classification.model import Architecture
from trainers.image_classification.pipelines import (
  Batching,
  LargeImages,
  MadeUpImages,
  SmallImages,
)
from trainers.image_classification.pixels import Cut
from trainers.image_classification.splits import Source
from trainers.image_classification.step import Objective
from trainers.plan import Plan

# Fields that the first runs did not have.
_CAME_LATER = (
  "data.validation_fraction",
  "data.split_seed",
  "data.crop_fill",
  "data.alternating_flip",
  "learning_rate.start_factor",
  "learning_rate.end_factor",
  "model.batch_norm_momentum",
  "model.batch_norm_bias_rate",
  "model.logit_scale",
  "model.whitening_images",
  "model.whitening_bias_epochs",
  "test_time_augmentation",
)
_LARGE = {"data.pipeline": "large_images", "data.crop_padding": 0}


def _one_device():
  return tf.distribute.OneDeviceStrategy("CPU:0")


def _load(config, strategy=None, **fields):
  run = Runtime(strategy or _one_device(), "run", **fields)
  return experiment.load(config, run)


class LoadTest(tf.test.TestCase):
  def test_the_config_alone_is_checked_before_the_data_is_read(self):
    for fields, message in (
      ({"learning_rate.schedule": "linear"}, "learning_rate.schedule"),
      ({"optimizer.name": "sgdd"}, "optimizer.name .*'sgdd'"),
      ({"data.crop_padding": -1}, "data.crop_padding"),
      ({"lookahead.sync_period": 0}, "sync_period=0"),
    ):
      config = small_run.config(**{"data.name": "image_folder", **fields})
      with self.assertRaisesRegex(UserError, message):
        _load(config, data_dir="/nowhere")

  def test_one_class_is_not_enough(self):
    one = splits.of_arrays(
      np.zeros((200, 8, 8, 1), "uint8"), np.zeros(200, "int32")
    )
    source = Source(one, one, class_names=("cat",), channels=1)
    with self.assertRaisesRegex(UserError, "one class, 'cat'.* two or more"):
      experiment.unpack(small_run.config(), source, _one_device())

  def test_fields_become_plain_values(self):
    loaded = _load(
      small_run.config(seed=7, l2_penalty=0.01, label_smoothing=0.2)
    )
    self.assertEqual(loaded.seed, 7)
    self.assertEqual(
      (loaded.source.train.size, loaded.source.channels), (1437, 1)
    )
    self.assertEqual(
      loaded.architecture,
      Architecture(
        "cnn",
        4,
        (1, 1, 1),
        (8, 8, 1),
        num_classes=10,
        tuned_for_cpu=devices.uses_xla_within(None, _one_device()),
      ),
    )
    self.assertEqual(
      loaded.objective,
      Objective(64, (0.305,), (0.376,), label_smoothing=0.2, l2_penalty=0.01),
    )
    self.assertEqual(
      loaded.plan,
      Plan(
        total_steps=22,
        steps_per_epoch=22,
        steps_per_loop=5,
        eval_every_steps=11,
        checkpoint_every_steps=11,
        global_batch_size=64,
        keep_checkpoints=2,
      ),
    )
    self.assertIsInstance(loaded.optimizer, Lookahead)
    self.assertEqual(loaded.optimizer.sync_period, 4)
    # The first of 22 steps of warmup.
    self.assertAllClose(loaded.optimizer.learning_rate, 0.1 / 22)
    self.assertFalse(loaded.jit_compile)

  def test_records_tell_runs_apart(self):
    records = _load(small_run.config(seed=7)).records
    self.assertCountEqual(records, ["config", "source", "runtime"])
    self.assertEqual(records["config"]["seed"], 7)
    self.assertEqual(records["config"]["data"]["name"], "digits")
    self.assertEqual(records["source"]["train_size"], 1437)
    self.assertEqual(records["runtime"], {"precision": "float32"})

  def test_a_run_that_is_older_than_some_fields(self):
    loaded = _load(small_run.config())
    record = copy.deepcopy(loaded.records["config"])
    for field in _CAME_LATER:
      group, _, name = field.rpartition(".")
      del (record[group] if group else record)[name]
    old = experiment.of_record(record, loaded.records["source"], _one_device())
    for part in ("batching", "architecture", "objective", "plan"):
      self.assertEqual(getattr(old, part), getattr(loaded, part), part)

  def test_batch_norm_is_synchronized_where_there_are_replicas(self):
    for wanted, strategy, expected in (
      (True, replicas.mirrored(), True),
      (True, None, False),
      (False, replicas.mirrored(), False),
    ):
      config = small_run.config(**{"model.synchronized_batch_norm": wanted})
      loaded = _load(config, strategy)
      self.assertEqual(loaded.architecture.synchronized, expected)

  def test_profile(self):
    loaded = _load(small_run.config(), profile_steps=(3, 4))
    self.assertEqual(loaded.plan.profile_steps, (3, 4))

  def test_the_step_that_is_compiled_has_a_source_of_its_own(self):
    config = small_run.config()
    self.assertEqual(experiment.source_to_compile(config).train.size, 1437)
    source = experiment.source_to_compile(config, fake_data=True)
    self.assertTrue(source.is_made_up)


class PipelineTest(tf.test.TestCase, parameterized.TestCase):
  def _make(self, config, source):
    loaded = experiment.unpack(config, source, _one_device())
    return loaded.make_pipeline(source.train, tf.distribute.InputContext())

  def _encoded(self):
    split = sources.load("digits").train
    split = type(split)(split.size, split.records, split.load, split.name)
    return Source(split, split, tuple("0123456789"), channels=3)

  def test_each_kind(self):
    digits = sources.load("digits")
    large = small_run.config(**_LARGE)
    for config, source, kind in (
      (small_run.config(), digits, SmallImages),
      (small_run.config(), self._encoded(), SmallImages),
      (large, self._encoded(), LargeImages),
      (large, sources.made_up("digits"), MadeUpImages),
    ):
      self.assertIs(type(self._make(config, source)), kind)

  def test_how_examples_become_batches(self):
    self.assertEqual(
      experiment.read_batching(small_run.config(seed=7)),
      Batching(
        global_batch_size=64,
        seed=7,
        shuffle_buffer=50_000,
        cut=Cut(8, eval_resize=9),
        crop_padding=1,
        cache=True,
      ),
    )
    fields = {
      "data.horizontal_flip": True,
      "data.crop_area": (0.5, 1.0),
      "data.crop_aspect_ratio": (1.0, 2.0),
      "data.antialias": True,
      "data.eval_resize": 20,
      "data.image_size": 16,
    }
    self.assertEqual(
      experiment.read_batching(small_run.config(**_LARGE, **fields)).cut,
      Cut(16, True, (0.5, 1.0), (1.0, 2.0), eval_resize=20, antialias=True),
    )
    uncached = small_run.config(**{"data.cache": False})
    self.assertFalse(experiment.read_batching(uncached).cache)

  @parameterized.parameters((224, None, 256), (160, None, 183), (32, 40, 40))
  def test_resize_goes_with_the_size(self, size, given, expected):
    config = small_run.config(
      **_LARGE, **{"data.image_size": size, "data.eval_resize": given}
    )
    cut = experiment.read_batching(config).cut
    self.assertEqual(cut.eval_resize, expected)


if __name__ == "__main__":
  tf.test.main()
