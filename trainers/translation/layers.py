"""Layers of the Transformer, in tensor2tensor's pre-norm form."""

import dataclasses
import math

import keras
import tensorflow as tf

from trainers.translation.attention import Attention, KeysValues

_LONGEST_WAVE = 1e4


@dataclasses.dataclass(frozen=True)
class Architecture:
  """The sizes of a Transformer, and its dropout.

  Attributes:
    d_model: Width, an even multiple of `num_heads`.
    num_heads: Heads of each attention.
    num_layers: Layers of the encoder, and of the decoder.
    d_ff: Width inside of feed-forward layers.
    dropout: Rate after the embeddings and after each sublayer, in [0, 1).
    relu_dropout: Rate inside of feed-forward layers.
    attention_dropout: Rate of attention weights.
    shares_dropout: Whether all positions of a row, and all rows and heads of
      attention weights, have the same mask, as in tensor2tensor on TPUs.
    uses_xla: Whether XLA compiles the training step; see `Dropout`.
    jit_compile_dropout: Whether XLA compiles dropout, in a step that XLA does
      not compile.
  """

  d_model: int
  num_heads: int
  num_layers: int
  d_ff: int
  dropout: float = 0.0
  relu_dropout: float = 0.0
  attention_dropout: float = 0.0
  shares_dropout: bool = False
  uses_xla: bool = False
  jit_compile_dropout: bool = False


class Embedding(keras.layers.Layer):
  """The matrix that both languages and the softmax share, always in float32.

  A lookup scales the matrix by sqrt(width), and token 0, the padding, counts as
  zeros. The rows come from the scaled matrix, not from the variable, so that
  the gradient is one dense tensor: Keras' Adam mistakes repeated indices in a
  sparse gradient, which keras.layers.ReversibleEmbedding has.

  Args:
    vocabulary_size: Number of tokens.
    width: Size of a token's vector.
  """

  def __init__(self, vocabulary_size: int, width: int, **kwargs):
    # Without autocast, which would make the softmax's inputs float32.
    super().__init__(dtype="float32", autocast=False, **kwargs)
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
      # One product of two matrices. With three dimensions TensorFlow would make
      # a product for each row, and a gradient of the whole matrix for each.
      rows = tf.reshape(x, (-1, x.shape[-1]))
      matrix = tf.cast(self._matrix, x.dtype)
      logits = tf.matmul(rows, matrix, transpose_b=True)
      shape = tf.concat([tf.shape(x)[:-1], self._shape[:1]], axis=0)
      return tf.cast(tf.reshape(logits, shape), tf.float32)
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
    width: Width of input and output.
    inner_width: Width between the two layers.
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
    architecture: The sizes.
    has_memory: Whether the layer is the decoder's and reads the encoder's
      output.
  """

  def __init__(
    self,
    architecture: Architecture,
    has_memory: bool,
    **kwargs,
  ):
    super().__init__(**kwargs)
    self._has_memory = has_memory
    self._dropout = make_dropout(architecture, architecture.dropout)

    def attention(name):
      return Attention(
        architecture.d_model,
        architecture.num_heads,
        Dropout(
          architecture.attention_dropout,
          (1, 1, None, None) if architecture.shares_dropout else None,
          architecture.uses_xla,
          architecture.jit_compile_dropout,
        ),
        name=name,
      )

    self._self_attention = attention("self_attention")
    self._self_norm = norm("self_norm")
    if has_memory:
      self._memory_attention = attention("memory_attention")
      self._memory_norm = norm("memory_norm")
    self._feed_forward = FeedForward(
      architecture.d_model,
      architecture.d_ff,
      make_dropout(architecture, architecture.relu_dropout),
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
      bias: Which positions read which, from `attention.bias_of`.
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


def make_dropout(architecture: Architecture, rate: float) -> keras.layers.Layer:
  """Returns a dropout of (batch, length, width), shared or not.

  With `shares_dropout` all positions of a row have the same mask, which is what
  tensor2tensor does on TPUs.
  """
  shared = (None, 1, None) if architecture.shares_dropout else None
  return Dropout(
    rate, shared, architecture.uses_xla, architecture.jit_compile_dropout
  )


def norm(name: str) -> keras.layers.Layer:
  """Returns a layer normalization as tensor2tensor has it."""
  return keras.layers.LayerNormalization(epsilon=1e-6, name=name)


class Dropout(keras.layers.Dropout):
  """keras.layers.Dropout, with a choice of the random number generator.

  TensorFlow's usual generator is Philox. Compiled by XLA on a CPU, Philox takes
  a multiple of the time of ThreeFry. Without XLA there is no ThreeFry, and
  Philox takes twice the time of ThreeFry with XLA, the product and its gradient
  included.

  Args:
    rate: The share that is dropped.
    noise_shape: One decision holds for all places of an axis that is 1 here;
      None for a decision at each place.
    uses_xla: Whether the layer is called within a function that XLA compiles.
    jit_compile: Whether XLA compiles the layer alone, called elsewhere.
  """

  def __init__(
    self,
    rate: float,
    noise_shape: tuple[int | None, ...] | None = None,
    uses_xla: bool = False,
    jit_compile: bool = False,
  ):
    super().__init__(rate, noise_shape=noise_shape)
    self._algorithm = "threefry" if uses_xla or jit_compile else "auto_select"
    self._drop = self._drop_some
    if jit_compile:
      self._drop = tf.function(self._drop, jit_compile=True, autograph=False)

  def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
    """Returns `inputs`, in training with some set to 0 and the rest scaled."""
    if not training or not self.rate:
      return inputs
    # int32, since TPUs have no int64; Keras does the same.
    seed = tf.math.floormod(self.seed_generator.next(), tf.int32.max - 1)
    return self._drop(inputs, tf.cast(seed, tf.int32))

  def _drop_some(self, inputs, seed):
    shape = tf.shape(inputs)
    if self.noise_shape:
      shape = [n or shape[i] for i, n in enumerate(self.noise_shape)]
    return tf.nn.experimental.stateless_dropout(
      inputs,
      rate=self.rate,
      seed=seed,
      rng_alg=self._algorithm,
      noise_shape=shape,
    )
