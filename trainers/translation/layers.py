"""Layers of the Transformer, in tensor2tensor's pre-norm form."""

import math

import keras
import ml_collections
import tensorflow as tf

from trainers.translation.attention import Attention
from trainers.translation.dropout import Dropout

# Keys and values of a decoder layer; see `Attention.project`.
KeysValues = tuple[tf.Tensor, tf.Tensor]

_LONGEST_WAVE = 1e4


class Embedding(keras.layers.Layer):
  """The matrix that both languages and the softmax share, always in float32.

  A lookup scales it by sqrt(width), and token 0, the padding, counts as zeros.
  The scaled matrix is looked up, not the variable: so the gradient is one dense
  tensor, since Keras' Adam mistakes repeated indices in a sparse one.
  (keras.layers.ReversibleEmbedding has the sparse one.)

  Args:
    vocabulary_size: Number of tokens.
    width: Size of a token's vector.
  """

  def __init__(self, vocabulary_size: int, width: int, **kwargs):
    super().__init__(dtype="float32", **kwargs)
    self._shape = (vocabulary_size, width)

  def build(self, input_shape: tuple[int | None, ...]) -> None:
    """Makes the matrix."""
    del input_shape
    deviation = self._shape[1] ** -0.5
    self._matrix = self.add_weight(
      shape=self._shape,
      initializer=keras.initializers.RandomNormal(stddev=deviation),
      name="matrix",
    )

  def call(self, x: tf.Tensor, reverse: bool = False) -> tf.Tensor:
    """Returns vectors (..., width) of int32 tokens of any shape.

    With `reverse`, it returns logits (..., vocabulary size) of such vectors.
    """
    if reverse:
      return tf.matmul(x, self._matrix, transpose_b=True)
    is_token = tf.cast(x != 0, tf.float32)[..., tf.newaxis]
    return tf.gather(self._matrix * self._shape[1] ** 0.5, x) * is_token


def position_signal(positions: tf.Tensor, width: int) -> tf.Tensor:
  """Returns sines and then cosines of positions, as tensor2tensor has them.

  Wavelengths are 2 pi to 2e4 pi, in a geometric series with both ends.

  Args:
    positions: Integers of any shape, from 0.
    width: An even number.

  Returns:
    float32 (..., width).
  """
  count = width // 2
  step = math.log(_LONGEST_WAVE) / max(count - 1, 1)
  rates = tf.exp(-step * tf.range(count, dtype=tf.float32))
  angles = tf.cast(positions, tf.float32)[..., tf.newaxis] * rates
  return tf.concat([tf.sin(angles), tf.cos(angles)], axis=-1)


class FeedForward(keras.layers.Layer):
  """Two dense layers with a ReLU and dropout between them.

  Args:
    width: Of input and output.
    inner_width: Between them.
    dropout: Layer that drops what comes out of the ReLU.
  """

  def __init__(
    self,
    width: int,
    inner_width: int,
    dropout: keras.layers.Layer,
    **kwargs,
  ):
    super().__init__(**kwargs)
    self._inner = keras.layers.Dense(
      inner_width, activation="relu", name="inner"
    )
    self._dropout = dropout
    self._outer = keras.layers.Dense(width, name="outer")

  def build(self, input_shape: tuple[int | None, ...]) -> None:
    """Makes the two dense layers' variables."""
    self._inner.build(input_shape)
    self._outer.build((*input_shape[:-1], self._inner.units))

  def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
    """Returns floats (batch, length, width) of the same shape as `x`."""
    inner = self._dropout(self._inner(x), training=training)
    return self._outer(inner)


class Block(keras.layers.Layer):
  """An encoder or decoder layer: x + dropout(sublayer(norm(x))), in turn.

  Args:
    config: A config's `model`.
    has_memory: Whether it is the decoder's, which reads the encoder's output.
    uses_xla: As in `Dropout`.
  """

  def __init__(
    self,
    config: ml_collections.ConfigDict,
    has_memory: bool,
    uses_xla: bool,
    **kwargs,
  ):
    super().__init__(**kwargs)
    self._has_memory = has_memory
    self._dropout = make_dropout(config, config.dropout, uses_xla)

    def attention(name):
      return Attention(
        config.d_model,
        config.num_heads,
        Dropout(
          config.attention_dropout,
          (1, 1, None, None) if config.shares_dropout else None,
          uses_xla,
        ),
        name=name,
      )

    self._self_attention = attention("self_attention")
    self._self_norm = norm("self_norm")
    if has_memory:
      self._memory_attention = attention("memory_attention")
      self._memory_norm = norm("memory_norm")
    self._feed_forward = FeedForward(
      config.d_model,
      config.d_ff,
      make_dropout(config, config.relu_dropout, uses_xla),
      name="feed_forward",
    )
    self._feed_forward_norm = norm("feed_forward_norm")

  def build(self, input_shape: tuple[int | None, ...]) -> None:
    """Makes the variables of all sublayers, which have the same width."""
    layers = [
      self._self_norm,
      self._self_attention,
      self._feed_forward_norm,
      self._feed_forward,
    ]
    if self._has_memory:
      layers += [self._memory_norm, self._memory_attention]
    for layer in layers:
      layer.build(input_shape)

  def call(
    self,
    x: tf.Tensor,
    bias: tf.Tensor,
    memory: tf.Tensor | None = None,
    memory_bias: tf.Tensor | None = None,
    training: bool = False,
  ) -> tf.Tensor:
    """Returns floats of the shape of `x`, (batch, length, width).

    Args:
      x: Output of the layer below.
      bias: Which positions read which; see `attention.bias_of`.
      memory: The encoder's output, for a decoder's layer.
      memory_bias: Which positions read which of `memory`.
      training: Whether to drop.
    """
    y = self._self_norm(x)
    x += self._dropout(
      self._self_attention(y, y, bias, training=training), training=training
    )
    if memory is not None:
      y = self._memory_norm(x)
      x += self._dropout(
        self._memory_attention(y, memory, memory_bias, training=training),
        training=training,
      )
    y = self._feed_forward(self._feed_forward_norm(x), training=training)
    return x + self._dropout(y, training=training)

  def project_memory(self, memory: tf.Tensor) -> KeysValues:
    """Returns keys and values of the encoder's output, for `step`."""
    return self._memory_attention.project(memory)

  def step(
    self,
    x: tf.Tensor,
    index: tf.Tensor,
    bias: tf.Tensor,
    cache: KeysValues,
    memory: KeysValues,
    memory_bias: tf.Tensor,
  ) -> tuple[tf.Tensor, KeysValues]:
    """Does what `call` does for some positions, given those before them.

    Args:
      x: Floats (batch, positions, width).
      index: Where in `cache` these positions belong, an integer scalar.
      bias: Which of `x` reads which position of the cache.
      cache: Keys and values of positions that went before.
      memory: From `project_memory`.
      memory_bias: As in `call`.

    Returns:
      The output, and the cache with these positions in it.
    """
    y = self._self_norm(x)
    start = (0, 0, index, 0)
    cache = tuple(
      keras.ops.slice_update(old, start, new)
      for old, new in zip(cache, self._self_attention.project(y))
    )
    x += self._self_attention.attend(y, *cache, bias)
    y = self._memory_norm(x)
    x += self._memory_attention.attend(y, *memory, memory_bias)
    return x + self._feed_forward(self._feed_forward_norm(x)), cache


def make_dropout(
  config: ml_collections.ConfigDict, rate: float, uses_xla: bool
) -> keras.layers.Layer:
  """Returns a dropout of (batch, length, width), as `config` wants it shared.

  With `shares_dropout` all positions of a row have the same mask, which is what
  tensor2tensor does on TPUs.
  """
  return Dropout(
    rate, (None, 1, None) if config.shares_dropout else None, uses_xla
  )


def norm(name: str) -> keras.layers.Layer:
  """Returns a layer normalization as tensor2tensor has it."""
  return keras.layers.LayerNormalization(epsilon=1e-6, name=name)
