"""Batch normalization of images by TensorFlow's single operation for it."""

from typing import Any

import keras
import tensorflow as tf


class FusedBatchNormalization(keras.layers.BatchNormalization):
  """Keras' layer for images, which trains faster on one device.

  Keras computes the mean, the variance and the normalization one after another:
  without XLA each is passes over the feature maps, forward and backward. Here
  one operation does all. The results are Keras', up to rounding.

  It takes tensors of shape (batch, height, width, channels). Synchronized, or
  with a mask, and for inference it is Keras' own.
  """

  def call(
    self,
    inputs: tf.Tensor,
    training: bool | None = None,
    mask: tf.Tensor | None = None,
  ) -> tf.Tensor:
    """Returns normalized `inputs`; in training the statistics follow."""
    if (
      not training
      or not self.trainable
      or self.synchronized
      or mask is not None
    ):
      return super().call(inputs, training=training, mask=mask)
    result = tf.raw_ops.FusedBatchNormV3(
      x=inputs,
      scale=self.gamma.value,
      offset=self.beta.value,
      mean=tf.zeros([0]),
      variance=tf.zeros([0]),
      epsilon=self.epsilon,
      is_training=True,
    )
    # That of the population, which the operation estimates from the batch's.
    count = tf.cast(tf.size(inputs) // inputs.shape[-1], tf.float32)
    variance = result.batch_variance * (count - 1.0) / count
    for moving, value in (
      (self.moving_mean, result.batch_mean),
      (self.moving_variance, variance),
    ):
      moving.assign(moving * self.momentum + value * (1.0 - self.momentum))
    return result.y


def with_layers_of_keras(model: Any) -> keras.Model:
  """Returns a copy of a functional model that Keras alone can load."""

  def copy(layer):
    kind = type(layer)
    if kind is FusedBatchNormalization:
      kind = keras.layers.BatchNormalization
    return kind.from_config(layer.get_config())

  plain = keras.models.clone_model(model, clone_function=copy)
  plain.set_weights(model.get_weights())
  return plain
