"""Images made up, for benchmarks and for steps that are only compiled."""

import ml_collections
import numpy as np
import tensorflow as tf

from trainers.errors import UserError
from trainers.image_classification.splits import FakeSplit, Source

# Examples to train on, to evaluate on, classes and channels.
_SIZES = {
  "cifar10": (50_000, 10_000, 10, 3),
  "cifar100": (50_000, 10_000, 100, 3),
  "digits": (1_437, 360, 10, 1),
  "imagenet2012": (1_281_167, 50_000, 1000, 3),
}
# Names that do not say how much there is: as if it were ImageNet.
_LIKE_IMAGENET = ("image_folder", "tfrecords")


def load(config: ml_collections.ConfigDict) -> Source:
  """Returns a source as large as the one that `config.name` names.

  Args:
    config: A config's `data`.

  Raises:
    UserError: if it is not known how large that is.
  """
  name = "imagenet2012" if config.name in _LIKE_IMAGENET else config.name
  if name not in _SIZES:
    raise UserError(
      f"--fake_data has the sizes of {[*_SIZES]}, and for {_LIKE_IMAGENET} "
      f"that of ImageNet, but not of data.name={config.name!r}."
    )
  *sizes, classes, channels = _SIZES[name]
  train, validation = (FakeSplit(n, classes, channels) for n in sizes)
  return Source(train, validation, tuple(map(str, range(classes))), channels)


def train_batches(
  split: FakeSplit,
  config: ml_collections.ConfigDict,
  *,
  seed: int,
  global_batch_size: int,
  first_step: int,
  context: tf.distribute.InputContext,
) -> tf.data.Dataset:
  """Returns one batch again and again, of noise and of random labels.

  Arguments and result are as for `input_pipeline.train_batches`.
  """
  del first_step  # All are alike.
  size = context.get_per_replica_batch_size(global_batch_size)
  return tf.data.Dataset.from_tensors(
    _noise(split, config, size, seed)
  ).repeat()


def evaluation_examples(
  split: FakeSplit,
  config: ml_collections.ConfigDict,
  context: tf.distribute.InputContext,
) -> tf.data.Dataset:
  """Returns one image as often as this host has examples."""
  hosts, host = context.num_input_pipelines, context.input_pipeline_id
  images, labels = _noise(split, config, 1, seed=0)
  example = tf.data.Dataset.from_tensors((images[0], labels[0]))
  return example.repeat(len(range(host, split.size, hosts)))


def _noise(split, config, size, seed):
  """Returns (images, labels) as the real pipelines do."""
  random = np.random.default_rng(seed)
  shape = (size, config.image_size, config.image_size, split.channels)
  images = random.integers(256, size=shape, dtype="uint8")
  return images, random.integers(split.num_classes, size=size, dtype="int32")
