"""Multi-head attention, and masks of the positions that it reads."""

import keras
import tensorflow as tf

# Keys and values of a decoder layer; see `Attention.project`.
KeysValues = tuple[tf.Tensor, tf.Tensor]

# Added to a score that must not count: its exponential is 0 in float32. Keras
# casts the number on its way, and float16 has none that is much greater.
_MASKED = -6e4


class Attention(keras.layers.Layer):
  """Multi-head scaled dot-product attention (Vaswani et al. 2017, section 3.2).

  The layer is tensor2tensor's: four square matrices without biases, and dropout
  of the weights. keras.layers.MultiHeadAttention has tensors of rank 3 instead,
  for which Glorot's initialization and Adafactor's factors come out otherwise.
  keras-hub's CachedMultiHeadAttention copies all of its cache in each step of a
  decoding. Scores and their softmax are float32 in any precision.

  Args:
    width: Width of input and output, a multiple of `num_heads`.
    num_heads: How many heads.
    dropout: Layer that drops weights, of (batch, heads, queries, keys).
  """

  def __init__(
    self,
    width: int,
    num_heads: int,
    dropout: keras.layers.Layer,
    **kwargs,
  ):
    super().__init__(**kwargs)
    self._heads, self._size = num_heads, width // num_heads
    self._query = _projection(width, "query")
    self._key = _projection(width, "key")
    self._value = _projection(width, "value")
    self._output = _projection(width, "output")
    self._dropout = dropout

  def build(self, input_shape: tuple[int | None, ...]) -> None:
    """Makes the four matrices."""
    for projection in (self._query, self._key, self._value, self._output):
      projection.build(input_shape)

  def call(
    self,
    x: tf.Tensor,
    memory: tf.Tensor,
    bias: tf.Tensor,
    training: bool = False,
  ) -> tf.Tensor:
    """Returns what `x` reads from `memory`, of the shape of `x`.

    Args:
      x: Floats (batch, queries, width).
      memory: Floats (batch, keys, width).
      bias: From `bias_of`.
      training: Whether to drop.
    """
    return self.attend(x, *self.project(memory), bias, training)

  def project(self, memory: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns keys and values, each (batch, heads, keys, width / heads)."""
    return self._split(self._key(memory)), self._split(self._value(memory))

  def attend(
    self,
    x: tf.Tensor,
    keys: tf.Tensor,
    values: tf.Tensor,
    bias: tf.Tensor,
    training: bool = False,
  ) -> tf.Tensor:
    """Does what `call` does, with keys and values from `project`."""
    queries = self._split(self._query(x)) * self._size**-0.5
    scores = tf.matmul(queries, keys, transpose_b=True)
    scores = tf.cast(scores, tf.float32) + tf.cast(bias, tf.float32)
    weights = tf.nn.softmax(scores)
    weights = self._dropout(tf.cast(weights, values.dtype), training=training)
    read = tf.transpose(tf.matmul(weights, values), (0, 2, 1, 3))
    return self._output(tf.reshape(read, tf.shape(x)))

  def _split(self, x):
    shape = tf.shape(x)
    heads = tf.reshape(x, (shape[0], shape[1], self._heads, self._size))
    return tf.transpose(heads, (0, 2, 1, 3))


def bias_of(mask: tf.Tensor) -> tf.Tensor:
  """Returns what is added to the scores: 0 where `mask`, else almost -infinity.

  Args:
    mask: Booleans (batch, queries, keys): which key counts for which query.

  Returns:
    float32 (batch, 1, queries, keys), for all heads.
  """
  return tf.where(mask, 0.0, _MASKED)[:, tf.newaxis]


def _projection(width, name):
  return keras.layers.Dense(
    width, use_bias=False, kernel_initializer="glorot_uniform", name=name
  )
