"""The order of training: epoch after epoch, each in another order."""

from collections.abc import Callable

import tensorflow as tf


def endless(
  read: Callable[[tf.Tensor], tf.data.Dataset],
  *,
  seed: int,
  items_per_epoch: int,
  first_item: int,
) -> tf.data.Dataset:
  """Returns numbered items from any one on, for ever.

  Args:
    read: A function of a seed, an int64 scalar tensor: returns an epoch's items
      in an order that the seed decides.
    seed: The experiment's seed.
    items_per_epoch: What an epoch has beyond that is left out.
    first_item: Number of the first item, counted from 0 over all epochs. Those
      before it in its epoch are read and dropped.

  Returns:
    Pairs (number, item); the number is an int64 scalar.
  """
  first_epoch, skipped = divmod(first_item, items_per_epoch)
  return (
    tf.data.Dataset.range(first_epoch, tf.int64.max)
    .flat_map(lambda epoch: read(_seed(seed, epoch)).take(items_per_epoch))
    .skip(skipped)
    .enumerate(first_item)
  )


def _seed(seed, epoch):
  """Returns another number for each pair of a seed and an epoch."""
  return tf.random.stateless_uniform(
    (),
    tf.stack([tf.cast(seed, tf.int64), epoch]),
    maxval=tf.int64.max,
    dtype=tf.int64,
  )
