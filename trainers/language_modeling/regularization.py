"""The regularizers of the AWD-LSTM (Merity, Keskar and Socher 2017).

All masks are functions of a seed and of the training step, and are drawn for
the rows of all replicas: neither where a run was resumed nor how many replicas
it has changes them. (XLA draws other numbers than TensorFlow's own operations.)
"""

import dataclasses

import tensorflow as tf

# Numbers of the masks of a step. Layers count from those of their kind.
_WORDS, _INPUT, _OUTPUT, _HIDDEN, _WEIGHTS = 0, 1, 2, 8, 16
_STREAMS = 24
MAX_LAYERS = 8


@dataclasses.dataclass(frozen=True)
class Rates:
  """Dropout rates, in [0, 1).

  Attributes:
    words: Rows of the embedding, a word everywhere in the batch.
    inputs: Values of embedded words, locked over time like the next two.
    hidden: Values between layers.
    outputs: Values of the last layer.
    weights: Of the recurrent kernels.
  """

  words: float = 0.0
  inputs: float = 0.0
  hidden: float = 0.0
  outputs: float = 0.0
  weights: float = 0.0


class Masks:
  """The masks of one training step, for one replica.

  A mask is 0 with the probability of its rate, and else 1 / (1 - rate). Where
  the rate is 0 there is none.

  Args:
    rates: The dropout rates.
    seed: In [0, 2**32).
    step: The training step, an int32 scalar.
    replicas: Number of replicas.
  """

  def __init__(
    self, rates: Rates, seed: int, step: tf.Tensor, replicas: int = 1
  ):
    self._rates, self._step, self._replicas = rates, step, replicas
    # As an int32 of the same bits.
    self._seed = seed - 2**32 if seed >= 2**31 else seed

  def words(self, vocabulary_size: int) -> tf.Tensor | None:
    """Returns the mask of words, float32 (vocabulary size, 1)."""
    return self._draw((vocabulary_size, 1), self._rates.words, _WORDS)

  def inputs(self, rows: int, width: int) -> tf.Tensor | None:
    """Returns the mask of embedded words, float32 (1, rows, width)."""
    return self._locked(rows, width, self._rates.inputs, _INPUT)

  def hidden(self, layer: int, rows: int, width: int) -> tf.Tensor | None:
    """Returns the mask behind a layer, float32 (1, rows, width)."""
    return self._locked(rows, width, self._rates.hidden, _HIDDEN + layer)

  def outputs(self, rows: int, width: int) -> tf.Tensor | None:
    """Returns the mask behind the last layer, float32 (1, rows, width)."""
    return self._locked(rows, width, self._rates.outputs, _OUTPUT)

  def weights(self, layer: int, shape: tuple[int, int]) -> tf.Tensor | None:
    """Returns the mask of a recurrent kernel, float32 of its shape."""
    return self._draw(shape, self._rates.weights, _WEIGHTS + layer)

  def _locked(self, rows, width, rate, stream):
    """Returns a mask of all steps of a segment, for this replica's rows."""
    mask = self._draw((rows * self._replicas, width), rate, stream)
    if mask is None:
      return None
    if self._replicas > 1:
      mask = tf.slice(mask, [replica() * rows, 0], [rows, width])
    return mask[tf.newaxis]

  def _draw(self, shape, rate, stream):
    if not rate:
      return None
    uniform = tf.random.stateless_uniform(
      shape,
      tf.stack([self._seed, self._step * _STREAMS + stream]),
      alg="philox",
    )
    return tf.cast(uniform >= rate, tf.float32) / (1 - rate)


def replica() -> tf.Tensor:
  """Returns which replica of all this is, an int32 scalar."""
  context = tf.distribute.get_replica_context()
  return tf.cast(context.replica_id_in_sync_group, tf.int32)


@dataclasses.dataclass(frozen=True)
class Penalties:
  """What is added to the loss for the last layer's outputs.

  Source: section 4.6 of Merity, Keskar and Socher 2017, where both are norms;
  the reference implementation takes means of squares, and so do we.

  Attributes:
    activation: Coefficient alpha of the mean square of outputs after dropout.
    temporal: Coefficient beta of the mean square of the difference of outputs,
      before dropout, from one step to the next.
  """

  activation: float = 0.0
  temporal: float = 0.0

  def __call__(
    self, outputs: tf.Tensor, dropped: tf.Tensor, size: tf.Tensor
  ) -> tf.Tensor:
    """Returns the penalty, a float32 scalar.

    Args:
      outputs: Of the last layer, floats (steps, rows, width).
      dropped: Likewise, after dropout.
      size: How many of the steps belong to the segment, an int32 scalar.
    """
    steps, rows, width = outputs.shape
    is_step = tf.cast(tf.range(steps) < size, tf.float32)[:, None, None]
    each = tf.cast(size, tf.float32) * rows * width
    penalty = tf.constant(0.0)
    if self.activation:
      square = tf.square(tf.cast(dropped, tf.float32)) * is_step
      penalty += self.activation * tf.reduce_sum(square) / each
    if self.temporal and steps > 1:
      outputs = tf.cast(outputs, tf.float32)
      square = tf.square(outputs[1:] - outputs[:-1]) * is_step[1:]
      each = tf.maximum(each - rows * width, 1.0)
      penalty += self.temporal * tf.reduce_sum(square) / each
    return penalty
