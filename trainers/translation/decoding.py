"""Translations of token sequences by a Transformer, with beam search."""

from collections.abc import Callable

import tensorflow as tf

from trainers import compilation
from trainers.translation.beam_search import Beam, beam_search
from trainers.translation.model import Transformer


def make_decoder(
  model: Transformer, beam: Beam, extra_length: int, jit_compile: bool
) -> Callable[[tf.Tensor], tf.Tensor]:
  """Returns a function from source tokens to target tokens.

  It is traced once for each shape. Keys and values of the encoder are made
  once for all hypotheses of a sentence; those of the decoder stay where they
  were written, and a mask tells whose they are: nothing is moved.

  Args:
    model: The model.
    beam: How to search.
    extra_length: A translation has at most so many tokens more than its source,
      the ends of both counted.
    jit_compile: Whether to compile with XLA.

  Returns:
    A function of int32 (sentences, length) that are filled up with 0, which
    returns int32 (sentences, length + extra_length), likewise.
  """

  @tf.function(jit_compile=jit_compile, autograph=False)
  def decode(source):
    return search(model, source, beam, extra_length)[0][:, 0]

  return compilation.concrete(decode)


def search(
  model: Transformer, source: tf.Tensor, beam: Beam, extra_length: int
) -> tuple[tf.Tensor, tf.Tensor]:
  """Returns all hypotheses and their scores, as `beam_search` does.

  Args:
    model: The model.
    source: int32 (sentences, length), a sentence a row, then 0.
    beam: How to search.
    extra_length: As in `make_decoder`.
  """
  is_token = source != 0
  sentences, length = (
    fixed or tf.shape(source)[axis] for axis, fixed in enumerate(source.shape)
  )
  longest = length + extra_length
  lengths = tf.reduce_sum(tf.cast(is_token, tf.int32), axis=1)
  # Nobody waits for rows that only fill up the batch.
  limits = tf.where(lengths > 0, lengths + extra_length, 1)
  memory = model.encode(
    source, tf.cast(is_token, tf.int32), tf.range(length)[tf.newaxis]
  )
  memory = model.project_memory(memory)
  memory_mask = is_token[:, tf.newaxis]

  def step(index, tokens, ancestors, cache):
    mask = _ancestor_mask(index, ancestors, beam.size)
    return model.step(
      tokens, index, index * beam.size, mask, cache, memory, memory_mask
    )

  return beam_search(
    step,
    model.empty_cache(sentences, longest * beam.size),
    limits,
    longest,
    beam,
  )


def _ancestor_mask(index, ancestors, size):
  """Returns whose keys and values each hypothesis reads.

  The cache holds, for each index, one after another, those of each slot.

  Args:
    index: The present one.
    ancestors: int32 (sentences, size, longest), of `beam_search`.
    size: That of the beam.

  Returns:
    Booleans (sentences, size, longest * size).
  """
  longest = tf.shape(ancestors)[2]
  is_past = tf.range(longest)[:, tf.newaxis] <= index
  is_own = ancestors[..., tf.newaxis] == tf.range(size)
  return tf.reshape(is_past & is_own, (-1, size, longest * size))
