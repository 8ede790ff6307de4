"""Dropout with random numbers that XLA makes fast on a CPU."""

import keras
import tensorflow as tf


class Dropout(keras.layers.Dropout):
  """keras.layers.Dropout, with a choice of the random number generator.

  Within XLA on a CPU, TensorFlow's usual one, Philox, takes a multiple of the
  time of ThreeFry; outside of XLA there is no ThreeFry.

  Args:
    rate: The share that is dropped.
    noise_shape: Where it is 1, one decision holds for all; None for no such.
    uses_xla: Whether it is called within a function that XLA compiles.
  """

  def __init__(
    self,
    rate: float,
    noise_shape: tuple[int | None, ...] | None = None,
    uses_xla: bool = False,
  ):
    super().__init__(rate, noise_shape=noise_shape)
    self._algorithm = "threefry" if uses_xla else "auto_select"

  def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
    """Returns `inputs`, in training with some set to 0 and the rest scaled."""
    if not training or not self.rate:
      return inputs
    # int32, since TPUs have no int64; Keras does the same.
    seed = tf.math.floormod(self.seed_generator.next(), tf.int32.max - 1)
    shape = tf.shape(inputs)
    if self.noise_shape:
      shape = [n or shape[i] for i, n in enumerate(self.noise_shape)]
    return tf.nn.experimental.stateless_dropout(
      inputs,
      rate=self.rate,
      seed=tf.cast(seed, tf.int32),
      rng_alg=self._algorithm,
      noise_shape=shape,
    )
