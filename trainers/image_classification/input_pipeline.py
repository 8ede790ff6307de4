"""From labelled images to batches for training and evaluation."""

import ml_collections
import tensorflow as tf

from trainers.image_classification.sources import Split


def train_batches(
  split: Split,
  config: ml_collections.ConfigDict,
  *,
  seed: int,
  global_batch_size: int,
  first_step: int,
  context: tf.distribute.InputContext,
) -> tf.data.Dataset:
  """Returns shuffled and augmented batches, one for each replica in turn.

  What step i trains on is a function of `seed` and i: the order of an epoch
  comes from its number, augmentation from the step's. So a resumed run sees
  what it would have seen, and the number of replicas changes nothing. Of each
  global batch every host has its own part.

  Args:
    split: Examples, in a fixed order.
    config: A config's `data`.
    seed: Seed of shuffling and augmentation.
    global_batch_size: Examples in a step; an epoch's remainder is dropped.
    first_step: Step to begin with.
    context: Which host this is of how many, and how many replicas there are.

  Returns:
    Endless pairs (images, labels) for one replica: float32 of shape
    (batch, image_size, image_size, channels), and int32 of shape (batch,).
  """
  steps_per_epoch = split.size // global_batch_size
  examples = _prepared(split, config)
  first_epoch, skipped = divmod(first_step, steps_per_epoch)

  def epoch_batches(epoch):
    shuffled = examples.shuffle(
      min(split.size, config.shuffle_buffer),
      seed=_seed(seed, epoch),
      reshuffle_each_iteration=False,
    )
    return shuffled.batch(global_batch_size, drop_remainder=True)

  host_rows = _host_rows(global_batch_size, context)

  def augment(step, batch):
    images, labels = batch
    random = tf.stack([tf.cast(seed, tf.int64), step])
    images = _augment(images, config, random, host_rows)
    return normalize(images, config), labels[host_rows]

  epochs = tf.data.Dataset.range(first_epoch, tf.int64.max)
  return (
    epochs.flat_map(epoch_batches)
    .skip(skipped)
    .enumerate(first_step)
    .map(augment, num_parallel_calls=tf.data.AUTOTUNE)
    .rebatch(
      context.get_per_replica_batch_size(global_batch_size),
      drop_remainder=True,
    )
    .prefetch(tf.data.AUTOTUNE)
  )


def evaluation_batches(
  split: Split,
  config: ml_collections.ConfigDict,
  *,
  global_batch_size: int,
  context: tf.distribute.InputContext,
) -> tf.data.Dataset:
  """Returns batches with every example once, one for each replica in turn.

  Batches are of one shape: the last are filled up with examples of weight 0.
  Every host has examples of its own.

  Args:
    split: Examples, in a fixed order.
    config: A config's `data`.
    global_batch_size: Examples over all replicas.
    context: Which host this is of how many, and how many replicas there are.

  Returns:
    Triples (images, labels, weights) for one replica; weights are float32, 1
    for an example and 0 for filling.
  """
  missing = -split.size % global_batch_size
  examples = _prepared(split, config).map(
    lambda image, label: (image, label, tf.constant(1.0))
  )
  filling = examples.take(1).map(
    lambda image, label, weight: (image, label, tf.zeros_like(weight))
  )
  return (
    examples.concatenate(filling.repeat(missing))
    .batch(
      global_batch_size // context.num_input_pipelines, drop_remainder=True
    )
    .shard(context.num_input_pipelines, context.input_pipeline_id)
    .rebatch(
      context.get_per_replica_batch_size(global_batch_size),
      drop_remainder=True,
    )
    .map(
      lambda images, labels, weights: (
        normalize(images, config),
        labels,
        weights,
      ),
      num_parallel_calls=tf.data.AUTOTUNE,
    )
    .prefetch(tf.data.AUTOTUNE)
  )


def normalize(
  images: tf.Tensor, config: ml_collections.ConfigDict
) -> tf.Tensor:
  """Returns uint8 images as float32, scaled to [0, 1], minus mean, over std."""
  images = tf.cast(images, tf.float32) / 255.0
  return (images - tf.constant(config.mean)) / tf.constant(config.std)


def _prepared(split, config):
  """Returns the examples resized, and cached if the config says so."""
  size = config.image_size

  def resize(image, label):
    height, width = tf.shape(image)[0], tf.shape(image)[1]
    if_needed = tf.logical_or(height != size, width != size)
    image = tf.cond(
      if_needed, lambda: _crop_and_resize(image, size), lambda: image
    )
    image.set_shape((size, size, image.shape[-1]))
    return image, tf.cast(label, tf.int32)

  examples = split.examples.map(resize, num_parallel_calls=tf.data.AUTOTUNE)
  return examples.cache() if config.cache else examples


def _crop_and_resize(image, size):
  """Returns the central square of `image`, resized to `size` pixels."""
  side = tf.minimum(tf.shape(image)[0], tf.shape(image)[1])
  square = tf.image.resize_with_crop_or_pad(image, side, side)
  resized = tf.image.resize(square, (size, size), antialias=True)
  return tf.cast(tf.clip_by_value(tf.round(resized), 0, 255), tf.uint8)


def _host_rows(global_batch_size, context):
  """Returns the slice of a global batch that is for this host."""
  size = global_batch_size // context.num_input_pipelines
  return slice(
    context.input_pipeline_id * size, (context.input_pipeline_id + 1) * size
  )


def _augment(images, config, random, rows):
  """Pads and crops at random places, and flips half of the images.

  Args:
    images: A global batch, uint8.
    config: A config's `data`.
    random: Seed, int64 of shape (2,).
    rows: Slice of the images to return.
  """
  batch, size = images.shape[0], images.shape[1]
  images = images[rows]
  # Drawn for the global batch, so that hosts agree whatever their number.
  crop_seed, flip_seed = tf.unstack(
    tf.random.experimental.stateless_split(random, 2)
  )
  padding = config.crop_padding
  if padding:
    images = tf.pad(images, [[0, 0], [padding] * 2, [padding] * 2, [0, 0]])
    offsets = tf.random.stateless_uniform(
      (2, batch, 1), crop_seed, maxval=2 * padding + 1, dtype=tf.int32
    )
    y, x = tf.unstack(offsets[:, rows] + tf.range(size))
    images = tf.gather(images, y, axis=1, batch_dims=1)
    images = tf.gather(images, x, axis=2, batch_dims=1)
  if config.horizontal_flip:
    flip = tf.random.stateless_uniform((batch, 1, 1, 1), flip_seed) < 0.5
    images = tf.where(flip[rows], tf.reverse(images, axis=[2]), images)
  return images


def _seed(seed, epoch):
  """Returns another number for each pair of a seed and an epoch."""
  return tf.random.stateless_uniform(
    (),
    tf.stack([tf.cast(seed, tf.int64), epoch]),
    maxval=tf.int64.max,
    dtype=tf.int64,
  )
