"""A training step of three small layers, to be compiled for TPUs."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from lookahead_tf import Lookahead

# Multiples of a TPU's tiles of 8 x 128, so that little is padded.
INPUTS, UNITS, CLASSES = 256, 512, 128
# Two kernels, a bias, and scale and offset of the normalization.
PARAMETERS = INPUTS * UNITS + UNITS * CLASSES + CLASSES + 2 * UNITS
TENSORS = 5


def maker(
  lookahead: bool = True, batch: int = 16, **arguments: Any
) -> Callable:
  """Returns a function that makes the step, as `compile_only` takes it.

  Args:
    lookahead: Whether there is a Lookahead.
    batch: Examples of a replica.
    **arguments: Of the Lookahead.
  """

  def make(strategy):
    with strategy.scope():
      model = keras.Sequential(
        [
          keras.Input((INPUTS,)),
          keras.layers.Dense(UNITS, use_bias=False),
          keras.layers.BatchNormalization(synchronized=True),
          keras.layers.Dense(CLASSES),
        ]
      )
      optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
      if lookahead:
        optimizer = Lookahead(optimizer, sync_period=5, **arguments)
      optimizer.build(model.trainable_variables)
    replicas = strategy.num_replicas_in_sync

    @tf.function
    def step(examples):
      features, labels = examples
      with tf.GradientTape() as tape:
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
          labels, model(features, training=True)
        )
        loss = tf.reduce_sum(losses) / (batch * replicas)
      gradients = tape.gradient(loss, model.trainable_variables)
      optimizer.apply(gradients, model.trainable_variables)
      return {"loss": loss}

    specs = (
      tf.TensorSpec((batch, INPUTS), tf.float32),
      tf.TensorSpec((batch,), tf.int32),
    )
    return step, specs

  return make
