"""From labelled images to batches for training and evaluation.

There are two kinds of pipelines, which `data.pipeline` names: SmallImages and
LargeImages. Both give whole numbers, a quarter of the bytes of floats;
`step.normalize` is the first thing that a step does with them.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from trainers.errors import UserError
from trainers.image_classification import pixels
from trainers.image_classification.pixels import Cut
from trainers.image_classification.splits import Split
from trainers.input import PARALLEL_CALLS, Pipeline, prefetch


@dataclasses.dataclass(frozen=True)
class Batching:
  """How examples become batches.

  Attributes:
    global_batch_size: Examples in a step over all replicas; the remainder of an
      epoch is dropped.
    seed: Seed of shuffling and augmentation.
    shuffle_buffer: How many examples to shuffle among.
    cut: What is cut out of images; SmallImages needs its `image_size` and
      `horizontal_flip` alone.
    crop_padding: Pixels that SmallImages adds on each side before a crop.
    crop_fill: Values of these pixels, one of `pixels.FILLS`.
    alternating_flip: Whether SmallImages, with the `horizontal_flip` of `cut`,
      mirrors each image in every other epoch. Otherwise it mirrors each image
      or not at random.
    cache: Whether SmallImages keeps the decoded images in memory.
  """

  global_batch_size: int
  seed: int
  shuffle_buffer: int
  cut: Cut
  crop_padding: int = 0
  crop_fill: str = "black"
  alternating_flip: bool = False
  cache: bool = True


class ImagePipeline(Pipeline):
  """What the pipelines of images share.

  Batches to train on are pairs (images, labels): uint8 of shape (batch,
  image_size, image_size, channels), and int32 of shape (batch,). Batches to
  evaluate on are triples (images, labels, weights): weights are float32, 1 for
  an example and 0 for a black image that fills up the last batch.

  Args:
    split: What to read.
    batching: How examples become batches.
    context: Which host this is of how many, and how many replicas there are.
  """

  def __init__(
    self,
    split: Split,
    batching: Batching,
    context: tf.distribute.InputContext,
  ):
    super().__init__(context)
    self._split, self._batching = split, batching
    self._size = batching.global_batch_size  # Over all replicas.
    self._host_size = self._size // self._hosts
    self._replica_size = context.get_per_replica_batch_size(self._size)

  def batches(self, first_step: int) -> tf.data.Dataset:
    """Returns shuffled and augmented batches, one for each replica in turn.

    The number of an epoch decides its order. The number of the step
    (SmallImages) or of the image (LargeImages) decides what is cut and flipped.
    Every host has its own part of each global batch.
    """
    return prefetch(self._batches(first_step), self._replicas)

  def examples(self) -> tf.data.Dataset:
    """Returns batches with every example once, one for each replica in turn.

    Every host has examples of its own.
    """
    examples = self._examples().map(lambda image, label: (image, label, 1.0))
    largest_part = -(-self._split.size // self._hosts)
    filling = tf.data.Dataset.from_tensors(
      tuple(tf.zeros(spec.shape, spec.dtype) for spec in examples.element_spec)
    )
    batches = (
      examples.concatenate(filling.repeat())
      .take(-(-largest_part // self._host_size) * self._host_size)
      .batch(self._replica_size, drop_remainder=True)
    )
    return prefetch(batches, self._replicas)

  def find_unreadable(
    self, first_step: int | None = None, steps: int = 0
  ) -> UserError | None:
    """Returns what is wrong with an image of these steps, or None."""
    if first_step is None:
      records = self._own_records()
    else:
      records = self._records_of(first_step, steps)
    return self._split.find_unreadable(records)

  @staticmethod
  def read(data: tf.Tensor, channels: int, cut: Cut) -> tf.Tensor:
    """Returns an image file as an evaluation sees it.

    Args:
      data: Contents of the file, a string scalar.
      channels: 1 or 3.
      cut: What is cut out of it.

    Returns:
      uint8 of shape (image_size, image_size, channels).
    """
    raise NotImplementedError

  def _own_records(self):
    """Returns the records that this host evaluates on, in a fixed order."""
    return self._split.records(self._host, self._hosts, None, 1)

  def _batches(self, first_step):
    """Returns what `batches` does, without prefetching."""
    raise NotImplementedError

  def _examples(self):
    """Returns this host's pairs (image, label) to evaluate on."""
    raise NotImplementedError

  def _records_of(self, first_step, steps):
    """Returns the records that are read for so many steps."""
    raise NotImplementedError


class SmallImages(ImagePipeline):
  """Small images: decoded once, kept in memory, cropped after padding.

  As for CIFAR: all images become squares of one size before they are cached,
  and are shuffled and augmented as pixels. The batch of a step does not depend
  on the number of hosts: each host shuffles all examples, and takes its own
  rows of each global batch.
  """

  @staticmethod
  def read(data: tf.Tensor, channels: int, cut: Cut) -> tf.Tensor:
    """Returns the central square of an image file; see ImagePipeline."""
    image = pixels.decode(data, channels)
    return pixels.central_square(image, cut.image_size)

  def _batches(self, first_step):
    batching = self._batching
    examples = self._prepare(self._split.examples)
    # The numbers of the images are behind the cache, which is of pixels.
    numbered = examples.enumerate()
    is_first_mirrored = tf.constant(self._is_first_mirrored())
    steps_per_epoch = self._split.size // self._size

    def epoch_batches(seed):
      shuffled = numbered.shuffle(
        min(self._split.size, batching.shuffle_buffer),
        seed=seed,
        reshuffle_each_iteration=False,
      )
      return shuffled.batch(self._size, drop_remainder=True)

    first = self._host * self._host_size
    rows = slice(first, first + self._host_size)

    def augment(step, batch):
      numbers, (images, labels) = batch
      mirrored = None
      if batching.alternating_flip:
        is_odd_epoch = step // steps_per_epoch % 2 == 1
        mirrored = tf.gather(is_first_mirrored, numbers) ^ is_odd_epoch
      images = pixels.shift_and_flip(
        images,
        tf.stack([tf.cast(batching.seed, tf.int64), step]),
        rows,
        batching.crop_padding,
        batching.cut.horizontal_flip,
        batching.crop_fill,
        mirrored,
      )
      return images, labels[rows]

    return (
      endless(
        epoch_batches,
        seed=batching.seed,
        items_per_epoch=steps_per_epoch,
        first_item=first_step,
      )
      .map(augment, num_parallel_calls=PARALLEL_CALLS)
      .rebatch(self._replica_size, drop_remainder=True)
    )

  def _is_first_mirrored(self):
    """Returns which images an alternating flip mirrors in the first epoch."""
    random = np.random.default_rng([self._batching.seed, self._split.size])
    return random.random(self._split.size) < 0.5

  def _examples(self):
    return self._prepare(self._split.examples.shard(self._hosts, self._host))

  def _records_of(self, first_step, steps):
    del first_step, steps  # All is read and cached, whatever the steps.
    return self._split.records(0, 1, None, 1)

  def _prepare(self, examples):
    """Returns the examples resized, and cached unless that is not wanted."""
    size = self._batching.cut.image_size

    def resize(image, label):
      return pixels.central_square(image, size), tf.cast(label, tf.int32)

    examples = examples.map(resize, num_parallel_calls=PARALLEL_CALLS)
    return examples.cache() if self._batching.cache else examples


class LargeImages(ImagePipeline):
  """Large images: shuffled as files are, decoded last, and only where needed.

  As for ImageNet: each host reads its own records, which stay encoded while
  they are shuffled and skipped. So the batch of a step depends on the number of
  hosts.
  """

  @staticmethod
  def read(data: tf.Tensor, channels: int, cut: Cut) -> tf.Tensor:
    """Returns the central crop of an image file; see ImagePipeline."""
    return pixels.central_crop(data, channels, cut)

  def _batches(self, first_step):
    split, batching = self._split, self._batching

    def augment(number, record):
      example = split.load(*record)
      # Another seed on each host, which numbers its own records from 0.
      seed = tf.stack(
        [
          tf.cast(batching.seed, tf.int64),
          number * self._hosts + self._host,
        ]
      )
      image = pixels.random_crop(
        example.image, split.channels, batching.cut, seed
      )
      return image, example.label

    return (
      self._numbered_records(first_step)
      .map(augment, num_parallel_calls=PARALLEL_CALLS, deterministic=True)
      .batch(self._replica_size, drop_remainder=True)
    )

  def _examples(self):
    def load(*record):
      example = self._split.load(*record)
      image = self.read(example.image, self._split.channels, self._batching.cut)
      return image, example.label

    return self._own_records().map(
      load, num_parallel_calls=PARALLEL_CALLS, deterministic=True
    )

  def _records_of(self, first_step, steps):
    numbered = self._numbered_records(first_step)
    # One step more: records for other replicas may have been read already.
    return numbered.take((steps + 1) * self._host_size).map(
      lambda number, record: record
    )

  def _numbered_records(self, first_step):
    """Returns pairs (number, record) to train on, from a step on."""

    def read(seed):
      return self._split.records(
        self._host, self._hosts, seed, self._batching.shuffle_buffer
      )

    return endless(
      read,
      seed=self._batching.seed,
      items_per_epoch=self._split.size // self._size * self._host_size,
      first_item=first_step * self._host_size,
    )


class MadeUpImages(ImagePipeline):
  """One batch of noise again and again, in place of images that are read.

  Args:
    split: Its size and channels count.
    batching: How large images and batches are.
    context: As for ImagePipeline.
    num_classes: Labels are less than this.
  """

  def __init__(
    self,
    split: Split,
    batching: Batching,
    context: tf.distribute.InputContext,
    num_classes: int,
  ):
    super().__init__(split, batching, context)
    self._num_classes = num_classes

  def _batches(self, first_step):
    del first_step  # All are alike.
    noise = self._noise(self._replica_size, self._batching.seed)
    return tf.data.Dataset.from_tensors(noise).repeat()

  def _examples(self):
    images, labels = self._noise(1, seed=0)
    example = tf.data.Dataset.from_tensors((images[0], labels[0]))
    return example.repeat(len(range(self._host, self._split.size, self._hosts)))

  def _records_of(self, first_step, steps):
    del first_step, steps
    return self._own_records()

  def _noise(self, count, seed):
    random = np.random.default_rng(seed)
    side = self._batching.cut.image_size
    shape = (count, side, side, self._split.channels)
    images = random.integers(256, size=shape, dtype="uint8")
    return images, random.integers(self._num_classes, size=count, dtype="int32")


KINDS = {"small_images": SmallImages, "large_images": LargeImages}


def endless(
  read: Callable[[tf.Tensor], tf.data.Dataset],
  *,
  seed: int,
  items_per_epoch: int,
  first_item: int,
) -> tf.data.Dataset:
  """Returns numbered items from any one on, epoch after epoch, for ever.

  Args:
    read: A function of a seed, an int64 scalar tensor: returns an epoch's items
      in an order that the seed decides.
    seed: The experiment's seed.
    items_per_epoch: Items of an epoch; further items are left out.
    first_item: Number of the first item, counted from 0 over all epochs.
      Earlier items of its epoch are read and dropped.

  Returns:
    Pairs (number, item); the number is an int64 scalar.
  """
  first_epoch, skipped = divmod(first_item, items_per_epoch)
  return (
    tf.data.Dataset.range(first_epoch, tf.int64.max)
    .flat_map(
      lambda epoch: read(_epoch_seed(seed, epoch)).take(items_per_epoch)
    )
    .skip(skipped)
    .enumerate(first_item)
  )


def _epoch_seed(seed, epoch):
  """Returns another number for each pair of a seed and an epoch."""
  return tf.random.stateless_uniform(
    (),
    tf.stack([tf.cast(seed, tf.int64), epoch]),
    maxval=tf.int64.max,
    dtype=tf.int64,
  )
