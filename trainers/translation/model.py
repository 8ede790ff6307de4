"""The Transformer of tensor2tensor (Vaswani et al. 2017)."""

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from trainers.translation.attention import KeysValues, bias_of
from trainers.translation.layers import (
  Architecture,
  Block,
  Embedding,
  make_dropout,
  norm,
  position_signal,
)


class Transformer(keras.Model):
  """An encoder and a decoder, on rows of several sentences each.

  The model is tensor2tensor's `transformer_base`: layer normalization before
  each sublayer and at the end of both stacks, no biases in attention, one
  matrix for the embeddings of both languages and the softmax, and sines as
  positions. The "target space", a vector that tells the encoder the task, is
  left out, since there is one task only.

  Args:
    architecture: The sizes and the dropout.
    vocabulary_size: Number of tokens, of which 0 is padding.
  """

  def __init__(
    self,
    architecture: Architecture,
    vocabulary_size: int,
    **kwargs,
  ):
    super().__init__(**kwargs)
    self._width, self._heads = architecture.d_model, architecture.num_heads
    self._embedding = Embedding(
      vocabulary_size, architecture.d_model, name="embedding"
    )
    self._dropout = make_dropout(architecture, architecture.dropout)
    self._encoder = [
      Block(architecture, False, name=f"encoder{i}")
      for i in range(architecture.num_layers)
    ]
    self._encoder_norm = norm("encoder_norm")
    self._decoder = [
      Block(architecture, True, name=f"decoder{i}")
      for i in range(architecture.num_layers)
    ]
    self._decoder_norm = norm("decoder_norm")

  def build(self, input_shape: Any = None) -> None:
    """Makes the variables, whose shapes no input decides."""
    del input_shape
    for layer in self.layers:
      layer.build((None, None, self._width))

  def call(
    self, batch: Mapping[str, tf.Tensor], training: bool = False
  ) -> tf.Tensor:
    """Returns the logits of each target token, given those before it.

    Args:
      batch: int32 (rows, length) of "source", "source_segments",
        "source_positions", and the same of "target": sentences in rows, with
        segment 0 for padding and 1, 2, ... for the sentences of a row, and
        positions from 0 in each.
      training: Whether to drop.

    Returns:
      float32 (rows, target length, vocabulary size).
    """
    memory = self.encode(
      batch["source"],
      batch["source_segments"],
      batch["source_positions"],
      training,
    )
    segments = batch["target_segments"]
    positions = batch["target_positions"]
    length = tf.shape(segments)[1]
    is_past = tf.range(length)[:, tf.newaxis] >= tf.range(length)
    bias = bias_of(_same(segments, segments) & is_past)
    memory_bias = bias_of(_same(segments, batch["source_segments"]))
    x = self._embed(_shift(batch["target"], positions), positions, training)
    for block in self._decoder:
      x = block(x, bias, memory, memory_bias, training=training)
    return self._embedding(self._decoder_norm(x), reverse=True)

  def encode(
    self,
    source: tf.Tensor,
    segments: tf.Tensor,
    positions: tf.Tensor,
    training: bool = False,
  ) -> tf.Tensor:
    """Returns the encoder's output, floats (rows, length, d_model).

    Args:
      source: Tokens, as in `call`.
      segments: Their sentences, as in `call`.
      positions: Their positions, as in `call`.
      training: Whether to drop.
    """
    bias = bias_of(_same(segments, segments))
    x = self._embed(source, positions, training)
    for block in self._encoder:
      x = block(x, bias, training=training)
    return self._encoder_norm(x)

  def project_memory(self, memory: tf.Tensor) -> list[KeysValues]:
    """Returns keys and values of the encoder's output, for each layer."""
    return [block.project_memory(memory) for block in self._decoder]

  def empty_cache(self, rows: int, length: int) -> list[KeysValues]:
    """Returns keys and values of `length` positions to come, for each layer."""
    shape = (rows, self._heads, length, self._width // self._heads)
    empty = tf.zeros(shape, self.compute_dtype)
    return [(empty, empty) for _ in self._decoder]

  def step(
    self,
    tokens: tf.Tensor,
    positions: tf.Tensor,
    index: tf.Tensor,
    mask: tf.Tensor,
    cache: list[KeysValues],
    memory: list[KeysValues],
    memory_mask: tf.Tensor,
  ) -> tuple[tf.Tensor, list[KeysValues]]:
    """Returns the logits after some tokens, given those before them.

    Args:
      tokens: Decoder input, int32 (rows, n): 0 at the start of a sentence, and
        then the token before. The tokens may be of one sentence or of several.
      positions: Positions of the tokens, integers that broadcast.
      index: Place of the tokens in `cache`, an integer scalar.
      mask: Which token reads which place of the cache, booleans (rows, n,
        length).
      cache: From `empty_cache` and then from the step before.
      memory: From `project_memory`.
      memory_mask: Which token reads which token of the source, booleans that
        broadcast to (rows, n, source length).

    Returns:
      float32 (rows, n, vocabulary size), and the cache.
    """
    bias, memory_bias = bias_of(mask), bias_of(memory_mask)
    x = self._embed(tokens, positions, training=False)
    filled = []
    for block, old, projected in zip(self._decoder, cache, memory):
      x, new = block.step(x, index, bias, old, projected, memory_bias)
      filled.append(new)
    return self._embedding(self._decoder_norm(x), reverse=True), filled

  def _embed(self, tokens, positions, training):
    x = self._embedding(tokens) + position_signal(positions, self._width)
    return self._dropout(tf.cast(x, self.compute_dtype), training=training)


def make_model(architecture: Architecture, vocabulary_size: int) -> Transformer:
  """Returns a Transformer, built; arguments as for Transformer."""
  model = Transformer(architecture, vocabulary_size, name="transformer")
  model.build()
  return model


def _same(segments, others):
  return segments[:, :, tf.newaxis] == others[:, tf.newaxis, :]


def _shift(tokens, positions):
  """Returns each token's predecessor, and 0 where a sentence begins."""
  before = tf.pad(tokens[:, :-1], [[0, 0], [1, 0]])
  return tf.where(positions == 0, 0, before)
