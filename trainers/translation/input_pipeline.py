"""From rows of tokens, and from sentences, to batches of fixed shapes."""

import warnings
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from trainers.errors import UserError
from trainers.translation.prepared import Rows
from trainers.translation.vocabulary import EOS, PAD, Vocabulary

Batch = dict[str, tf.Tensor]


def rows_per_batch(
  global_batch_tokens: int, max_length: int, replicas: int
) -> int:
  """Returns how many rows of `max_length` target tokens a global batch has.

  Raises:
    UserError: if they are not the same whole number for each replica.
  """
  rows, rest = divmod(global_batch_tokens, max_length)
  if rest or rows < 1 or rows % replicas:
    unit = max_length * replicas
    below = global_batch_tokens // unit * unit
    raise UserError(
      f"global_batch_tokens={global_batch_tokens} must be a multiple of "
      f"{unit}: data.max_length={max_length} for each of {replicas} replicas. "
      f"{f'{below} or ' if below else ''}{below + unit} would do."
    )
  return rows


def train_batches(
  rows: Rows,
  *,
  seed: int,
  global_batch_size: int,
  first_step: int,
  context: tf.distribute.InputContext,
) -> tf.data.Dataset:
  """Returns shuffled batches, one for each replica in turn.

  What step i trains on is a function of `seed` and i: each epoch goes through
  all rows in an order of its own. So a resumed run sees what it would have
  seen, at once, and the number of replicas changes nothing. Of each global
  batch every host has its own part.

  Args:
    rows: What to train on.
    seed: Of the order.
    global_batch_size: Rows in a step; an epoch's remainder is left out of it.
    first_step: Step to begin with.
    context: Which host this is of how many, and how many replicas there are.

  Returns:
    Endless batches for one replica: int32 of shape (rows, length) under the
    keys "source" and "target", tokens, with an end-of-sentence token after each
    sentence; and for both, as "..._segments", 1, 2, ... for the sentences of a
    row and 0 for padding, and as "..._positions" their tokens' places in them
    from 0.
  """
  size = len(rows.tokens)
  steps_per_epoch = size // global_batch_size
  tokens = tf.constant(rows.tokens)
  part = global_batch_size // context.num_input_pipelines
  places = context.input_pipeline_id * part + tf.range(part, dtype=tf.int64)

  def make_batch(step):
    epoch, step_of_epoch = step // steps_per_epoch, step % steps_per_epoch
    # Where a place of the epoch is in its permutation: no state, so no cost.
    chosen = tf.random.experimental.index_shuffle(
      step_of_epoch * global_batch_size + places,
      seed=tf.stack([tf.cast(seed, tf.int64), epoch]),
      max_index=size - 1,
    )
    return _with_segments(tf.gather(tokens, chosen))

  return (
    tf.data.Dataset.range(first_step, tf.int64.max)
    .map(make_batch, num_parallel_calls=tf.data.AUTOTUNE)
    .rebatch(
      context.get_per_replica_batch_size(global_batch_size),
      drop_remainder=True,
    )
    .prefetch(tf.data.AUTOTUNE)
  )


def evaluation_batches(
  rows: Rows, *, global_batch_size: int, context: tf.distribute.InputContext
) -> tf.data.Dataset:
  """Returns batches with every row once, one for each replica in turn.

  Batches are of one shape: the last are filled up with rows of padding, whose
  segments are 0. Every host has rows of its own.

  Args:
    rows: What to evaluate on, in a fixed order.
    global_batch_size: Rows over all replicas.
    context: Which host this is of how many, and how many replicas there are.

  Returns:
    Batches as `train_batches` has them.
  """
  hosts = context.num_input_pipelines
  missing = -len(rows.tokens) % global_batch_size
  tokens = np.pad(rows.tokens, [(0, missing), (0, 0), (0, 0)])
  shape = tokens.shape[1:]
  by_host = tokens.reshape(-1, hosts, global_batch_size // hosts, *shape)
  return (
    tf.data.Dataset.from_tensor_slices(
      by_host[:, context.input_pipeline_id].reshape(-1, *shape)
    )
    .batch(
      context.get_per_replica_batch_size(global_batch_size),
      drop_remainder=True,
    )
    .map(_with_segments, num_parallel_calls=tf.data.AUTOTUNE)
    .prefetch(tf.data.AUTOTUNE)
  )


def decoding_batches(
  sentences: Sequence[str],
  vocabulary: Vocabulary,
  *,
  max_length: int,
  batch_tokens: int,
  replicas: int = 1,
) -> list[dict[str, np.ndarray]]:
  """Returns sentences to translate, sorted by length, in batches of few shapes.

  A batch holds sentences of 16 tokens at most, or of 32, 64 and so on up to
  `max_length`, and the fewer of them the longer they are. Longer sentences are
  cut, with a warning. Empty ones are in no batch: nothing is their translation.

  Args:
    sentences: Text.
    vocabulary: Its tokens.
    max_length: Tokens of the longest source, with the end of the sentence.
    batch_tokens: Source tokens in a batch, about.
    replicas: Rows are a multiple of that.

  Returns:
    For each batch "source", int32 of shape (rows, length), with
    end-of-sentence tokens and padding, and "index", int32 of shape (rows,):
    which of `sentences` it is, or -1 for a row that fills up the batch.
  """
  tokens, lengths = _tokenize(sentences, vocabulary, max_length)
  order = np.argsort(lengths, kind="stable")
  batches = []
  previous = 1  # The end of the sentence alone.
  for length in _bucket_lengths(max_length):
    inside = order[(lengths[order] > previous) & (lengths[order] <= length)]
    rows = max(1, batch_tokens // length // replicas) * replicas
    for first in range(0, len(inside), rows):
      index = np.full(rows, -1, np.int32)
      chosen = inside[first : first + rows]
      index[: len(chosen)] = chosen
      source = np.full((rows, length), PAD, np.int32)
      source[: len(chosen)] = tokens[chosen, :length]
      batches.append({"source": source, "index": index})
    previous = length
  return batches


def _tokenize(sentences, vocabulary, max_length):
  """Returns tokens, int32 (sentences, up to max_length), and their numbers."""
  ragged, lengths = vocabulary.tokenize_up_to(
    tf.constant(list(sentences), tf.string), max_length
  )
  lengths = lengths.numpy()
  too_long = lengths > max_length
  if too_long.any():
    warnings.warn(
      f"{too_long.sum()} of {len(sentences)} sentences have more than "
      f"{max_length} tokens, and are cut to that.",
      stacklevel=3,
    )
  tokens = ragged.to_tensor(PAD, shape=(len(sentences), max_length)).numpy()
  return tokens, np.minimum(lengths, max_length)


def _bucket_lengths(max_length):
  lengths = [16]
  while lengths[-1] < max_length:
    lengths.append(2 * lengths[-1])
  return [*lengths[:-1], max_length]


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
  """Returns which sentence of its row each token is of, and its place in it."""
  is_end = tf.cast(tokens == EOS, tf.int32)
  before = tf.cumsum(is_end, axis=1, exclusive=True)
  places = tf.range(tokens.shape[1])
  # Behind each end, the place where the next sentence begins.
  begins = tf.pad((is_end * (places + 1))[:, :-1], [[0, 0], [1, 0]])
  is_text = tf.cast(tokens != PAD, tf.int32)
  positions = (places - _running_maximum(begins)) * is_text
  return (before + 1) * is_text, positions


def _running_maximum(values):
  """Returns the maximum up to each column, of columns doubled at a time."""
  width = 1
  while width < values.shape[1]:
    shifted = tf.pad(values[:, :-width], [[0, 0], [width, 0]])
    values = tf.maximum(values, shifted)
    width *= 2
  return values
