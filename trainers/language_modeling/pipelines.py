"""From columns of words to the segments of training and evaluation."""

import numpy as np
import tensorflow as tf

from trainers.input import Pipeline, prefetch
from trainers.language_modeling.segments import Table


class _ColumnsPipeline(Pipeline):
  """What both pipelines have in common: rows of one replica."""

  def __init__(self, columns, context):
    super().__init__(context)
    self._columns = columns
    self._first = self._host * self._replicas
    self._rows = len(columns) // context.num_replicas_in_sync

  def _cut(self, replica, start, length):
    """Returns rows of a replica of this host, from a place on."""
    row = (self._first + replica) * self._rows
    return tf.slice(self._columns, [row, start], [self._rows, length])


class TrainingPipeline(_ColumnsPipeline):
  """The segments to train on, for one host.

  A batch is a dictionary of
    "tokens": int32 (columns of the replica, longest + 1): the words of the
      segment behind the word before them; what is behind the segment's end
      belongs to the next one.
    "size": int32, how many words of each column the segment has.
    "is_first": bool, whether the segment begins an epoch.
    "step": int32, the training step, counted from 0.

  Args:
    columns: int32 (columns, length + 1), from `segments.training_columns`.
    table: Which segment each step trains on.
    longest: The greatest length of a segment.
    context: Which host this is of how many, and how many replicas there are.
  """

  def __init__(
    self,
    columns: np.ndarray,
    table: Table,
    longest: int,
    context: tf.distribute.InputContext,
  ):
    super().__init__(np.pad(columns, [(0, 0), (0, longest)]), context)
    self._table, self._longest = table, longest

  def batches(self, first_step: int) -> tf.data.Dataset:
    """Returns segments, of each step one for each replica of this host."""
    starts, sizes = map(tf.constant, (self._table.starts, self._table.sizes))
    steps = len(self._table.starts)

    def make_batch(index):
      index = tf.cast(index, tf.int32)
      step = index // self._replicas
      place = tf.minimum(step, steps - 1)  # Prefetching may ask for more.
      start = starts[place]
      tokens = self._cut(index % self._replicas, start, self._longest + 1)
      tokens.set_shape((self._rows, self._longest + 1))
      return {
        "tokens": tokens,
        "size": sizes[place],
        "is_first": start == 0,
        "step": step,
      }

    places = tf.data.Dataset.range(first_step * self._replicas, tf.int64.max)
    return prefetch(places.map(make_batch), self._replicas)


class EvaluationPipeline(_ColumnsPipeline):
  """All segments of a text in their order, for one host.

  A batch is a dictionary of "tokens", int32 (columns of the replica, length +
  1), and "is_first" as in TrainingPipeline, and of "weights", float32 (columns
  of the replica, length): 1 for a word that counts, else 0.

  Args:
    columns: int32 (columns, length + 1), from `segments.evaluation_columns`.
    weights: float32 (columns, length), likewise.
    length: Of segments.
    context: Which host this is of how many, and how many replicas there are.
  """

  def __init__(
    self,
    columns: np.ndarray,
    weights: np.ndarray,
    length: int,
    context: tf.distribute.InputContext,
  ):
    # As many rows for each replica, and whole segments.
    rows = -len(columns) % context.num_replicas_in_sync
    rest = -weights.shape[1] % length
    super().__init__(np.pad(columns, [(0, rows), (0, rest)]), context)
    self._weights = np.pad(weights, [(0, rows), (0, rest)])
    self._length = length

  def examples(self) -> tf.data.Dataset:
    """Returns segments, one for each replica of this host in turn."""
    segments = self._weights.shape[1] // self._length
    weights = tf.constant(self._weights)

    def make_batch(index):
      index = tf.cast(index, tf.int32)
      replica = index % self._replicas
      start = index // self._replicas * self._length
      tokens = self._cut(replica, start, self._length + 1)
      tokens.set_shape((self._rows, self._length + 1))
      row = (self._first + replica) * self._rows
      part = tf.slice(weights, [row, start], [self._rows, self._length])
      part.set_shape((self._rows, self._length))
      return {"tokens": tokens, "weights": part, "is_first": start == 0}

    places = tf.data.Dataset.range(segments * self._replicas)
    return prefetch(places.map(make_batch), self._replicas)
