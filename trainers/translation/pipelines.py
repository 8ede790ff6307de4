"""From rows of tokens to batches for training and evaluation."""

import numpy as np
import tensorflow as tf

from trainers.input import PARALLEL_CALLS, Pipeline, prefetch
from trainers.translation.rows import Rows
from trainers.translation.vocabulary import EOS, PAD

BATCH_KEYS = tuple(
  f"{side}{suffix}"
  for side in ("source", "target")
  for suffix in ("", "_segments", "_positions")
)


class RowsPipeline(Pipeline):
  """Batches of rows of tokens, for one host.

  A batch is int32 of shape (rows, length) under each of BATCH_KEYS: "source"
  and "target" are tokens, with an end-of-sentence token after each sentence.
  For both, "..._segments" are 1, 2, ... for the sentences of a row and 0 for
  padding, and "..._positions" are their tokens' places in them from 0.

  Args:
    rows: What to read.
    global_batch_size: Rows in a step over all replicas.
    seed: Seed of the order of training.
    context: Which host this is of how many, and how many replicas there are.
  """

  def __init__(
    self,
    rows: Rows,
    global_batch_size: int,
    seed: int,
    context: tf.distribute.InputContext,
  ):
    super().__init__(context)
    self._rows, self._seed = rows, seed
    self._size = global_batch_size
    self._replica_size = context.get_per_replica_batch_size(global_batch_size)

  def batches(self, first_step: int) -> tf.data.Dataset:
    """Returns shuffled batches, one for each replica in turn.

    Each epoch goes through all rows in an order of its own; the remainder that
    fills no batch is left out. A resumed run begins at once, and the number of
    replicas changes nothing. Every host has its own part of each global batch.
    """
    size = len(self._rows.tokens)
    steps_per_epoch = size // self._size
    tokens = tf.constant(self._rows.tokens)
    part = self._size // self._hosts
    places = self._host * part + tf.range(part, dtype=tf.int64)

    def make_batch(step):
      epoch, step_of_epoch = step // steps_per_epoch, step % steps_per_epoch
      # The places in the epoch's permutation, which has no state: so a run goes
      # on from any step at no cost.
      chosen = tf.random.experimental.index_shuffle(
        step_of_epoch * self._size + places,
        seed=tf.stack([tf.cast(self._seed, tf.int64), epoch]),
        max_index=size - 1,
      )
      return _with_segments(tf.gather(tokens, chosen))

    batches = (
      tf.data.Dataset.range(first_step, tf.int64.max)
      .map(make_batch, num_parallel_calls=PARALLEL_CALLS)
      .rebatch(self._replica_size, drop_remainder=True)
    )
    return prefetch(batches, self._replicas)

  def examples(self) -> tf.data.Dataset:
    """Returns batches with every row once, one for each replica in turn.

    The last batches are filled up with rows of padding, whose segments are 0.
    Every host has rows of its own.
    """
    missing = -len(self._rows.tokens) % self._size
    tokens = np.pad(self._rows.tokens, [(0, missing), (0, 0), (0, 0)])
    shape = tokens.shape[1:]
    by_host = tokens.reshape(-1, self._hosts, self._size // self._hosts, *shape)
    batches = (
      tf.data.Dataset.from_tensor_slices(
        by_host[:, self._host].reshape(-1, *shape)
      )
      .batch(self._replica_size, drop_remainder=True)
      .map(_with_segments, num_parallel_calls=PARALLEL_CALLS)
    )
    return prefetch(batches, self._replicas)


def _with_segments(tokens):
  """Returns rows of shape (rows, 2, length) as a batch."""
  batch = {}
  for name, side in zip(
    ("source", "target"), tf.unstack(tf.cast(tokens, tf.int32), axis=1)
  ):
    segments, positions = _segments(side)
    batch |= {
      name: side,
      f"{name}_segments": segments,
      f"{name}_positions": positions,
    }
  return batch


def _segments(tokens):
  """Returns each token's sentence, counted in its row, and its place there."""
  is_end = tf.cast(tokens == EOS, tf.int32)
  before = tf.cumsum(is_end, axis=1, exclusive=True)
  places = tf.range(tokens.shape[1])
  # Behind each end, the place where the next sentence begins.
  begins = tf.pad((is_end * (places + 1))[:, :-1], [[0, 0], [1, 0]])
  is_text = tf.cast(tokens != PAD, tf.int32)
  positions = (places - _running_maximum(begins)) * is_text
  return (before + 1) * is_text, positions


def _running_maximum(values):
  """Returns the maximum up to each column, over widths that double."""
  width = 1
  while width < values.shape[1]:
    shifted = tf.pad(values[:, :-width], [[0, 0], [width, 0]])
    values = tf.maximum(values, shifted)
    width *= 2
  return values
