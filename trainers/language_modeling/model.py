"""The AWD-LSTM: embedded words, layers of LSTM, a softmax tied to the words."""

import dataclasses
from typing import Any

import keras
import tensorflow as tf

from trainers.language_modeling.lstm import Lstm, State, sizes
from trainers.language_modeling.regularization import Masks


@dataclasses.dataclass(frozen=True)
class Architecture:
  """Sizes of a model.

  Attributes:
    embedding_size: Width of embedded words, and of the last layer.
    hidden_size: Width of the other layers.
    num_layers: How many layers there are.
  """

  embedding_size: int
  hidden_size: int
  num_layers: int

  def widths(self) -> list[int]:
    """Returns the width of each layer's output."""
    hidden = [self.hidden_size] * (self.num_layers - 1)
    return [*hidden, self.embedding_size]


@dataclasses.dataclass(frozen=True)
class Outputs:
  """What a model makes of a segment.

  Attributes:
    logits: float32 (steps * rows, vocabulary size), the rows of the first step
      first.
    outputs: Of the last layer, (steps, rows, embedding size).
    dropped: Likewise, after dropout.
    state: Behind the segment, of each layer.
  """

  logits: tf.Tensor
  outputs: tf.Tensor
  dropped: tf.Tensor
  state: list[State]


@keras.saving.register_keras_serializable(package="lookahead_tf.trainers")
class AwdLstm(keras.Model):
  """A language model (Merity, Keskar and Socher 2017), built.

  Called with words, int32 (rows, steps), it returns the logits of the word
  behind each of them, float32 (rows, steps, vocabulary size), without dropout
  and from a state of zeros.

  Args:
    vocabulary_size: Number of words.
    embedding_size: As in Architecture, like the next two.
    hidden_size: See there.
    num_layers: See there.
    **kwargs: Of a Keras model.
  """

  def __init__(
    self,
    vocabulary_size: int,
    embedding_size: int,
    hidden_size: int,
    num_layers: int,
    **kwargs,
  ):
    super().__init__(**kwargs)
    self.vocabulary_size = vocabulary_size
    self.architecture = Architecture(embedding_size, hidden_size, num_layers)
    self._lstms = [
      Lstm(width, name=f"lstm{i}")
      for i, width in enumerate(self.architecture.widths())
    ]
    self.build()

  def build(self, input_shape: Any = None) -> None:
    """Makes the weights, whose shapes no input decides."""
    del input_shape
    if self.built:
      return
    width = self.architecture.embedding_size
    self.embedding = self.add_weight(
      name="embedding",
      shape=(self.vocabulary_size, width),
      initializer=keras.initializers.RandomUniform(-0.1, 0.1),
    )
    self.bias = self.add_weight(
      name="bias", shape=(self.vocabulary_size,), initializer="zeros"
    )
    for layer in self._lstms:
      layer.build((None, None, width))
      width = layer.units
    self.built = True

  def get_config(self) -> dict[str, Any]:
    """Returns the arguments."""
    return {
      **super().get_config(),
      "vocabulary_size": self.vocabulary_size,
      **dataclasses.asdict(self.architecture),
    }

  def zero_state(self, rows: int) -> list[State]:
    """Returns the state before a text, of each layer."""
    return [
      (
        tf.zeros((rows, width), self.compute_dtype),
        tf.zeros((rows, width)),
      )
      for width in self.architecture.widths()
    ]

  def call(self, tokens: tf.Tensor) -> tf.Tensor:
    """Returns logits; see the class."""
    rows, steps = sizes(tokens)
    state = self.zero_state(rows)
    logits = self.run(tf.transpose(tokens), state).logits
    logits = tf.reshape(logits, (steps, rows, self.vocabulary_size))
    return tf.transpose(logits, (1, 0, 2))

  def run(
    self,
    tokens: tf.Tensor,
    state: list[State],
    masks: Masks | None = None,
  ) -> Outputs:
    """Returns what the model makes of a segment.

    Args:
      tokens: int32 (steps, rows).
      state: Of each layer, before the segment.
      masks: What to drop; None for nothing.
    """
    rows = tokens.shape[1]
    table = tf.convert_to_tensor(self.embedding.value)
    x = tf.gather(table, tokens)
    if masks:
      words = masks.words(self.vocabulary_size)
      if words is not None:
        x *= tf.gather(words, tokens)
      x = _times(x, masks.inputs(rows, x.shape[-1]))
    x = outputs = tf.cast(x, self.compute_dtype)
    after = []
    for i, (layer, before) in enumerate(zip(self._lstms, state)):
      mask = masks and masks.weights(i, tuple(layer.recurrent_kernel.shape))
      outputs, behind = layer.run(x, before, mask)
      after.append(behind)
      x = outputs
      if masks:
        is_last = i == len(self._lstms) - 1
        mask = (
          masks.outputs(rows, layer.units)
          if is_last
          else masks.hidden(i, rows, layer.units)
        )
        x = _times(x, mask)
    logits = tf.matmul(
      tf.reshape(x, (-1, x.shape[-1])),
      tf.cast(table, x.dtype),
      transpose_b=True,
    )
    logits = tf.nn.bias_add(  # As in `Lstm.run`.
      tf.cast(logits, tf.float32), tf.cast(self.bias.value, tf.float32)
    )
    return Outputs(logits, outputs, x, after)


def _times(x, mask):
  return x if mask is None else x * tf.cast(mask, x.dtype)


def make_model(architecture: Architecture, vocabulary_size: int) -> AwdLstm:
  """Returns an AWD-LSTM, built; arguments as for AwdLstm."""
  return AwdLstm(
    vocabulary_size, **dataclasses.asdict(architecture), name="awd_lstm"
  )
