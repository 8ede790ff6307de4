"""One replica's training step of an image classifier, and its loss."""

from collections.abc import Callable

import keras
import ml_collections
import tensorflow as tf

from trainers import compilation, gradients
from trainers.image_classification import input_pipeline


def make_train_step(
  model: keras.Model,
  optimizer: keras.optimizers.Optimizer,
  config: ml_collections.ConfigDict,
  strategy: tf.distribute.Strategy,
) -> Callable[[tuple[tf.Tensor, tf.Tensor]], dict[str, tf.Tensor]]:
  """Returns one replica's training step.

  It takes a batch (images, labels), the images as they come from the input, not
  normalized, updates the model, and returns the replica's share of the loss and
  the accuracy of the global batch.
  """
  replicas = strategy.num_replicas_in_sync
  clip = gradients.Clipping(config.optimizer.arguments, replicas)

  @tf.function(jit_compile=compilation.uses_xla(config.jit_compile, strategy))
  def train_step(batch):
    images, labels = batch
    images = input_pipeline.normalize(images, config.data)
    with tf.GradientTape() as tape:
      logits = model(images, training=True)
      losses = cross_entropy(logits, labels, config.label_smoothing)
      # The optimizer sums gradients over replicas.
      loss = tf.reduce_sum(losses) / config.global_batch_size
      penalty = l2_penalty(model, config.l2_penalty) / replicas
      objective = optimizer.scale_loss(loss + penalty)
    variables = model.trainable_variables
    optimizer.apply(clip(tape.gradient(objective, variables)), variables)
    correct = tf.reduce_sum(is_correct(logits, labels))
    return {"loss": loss, "accuracy": correct / config.global_batch_size}

  return train_step


def cross_entropy(
  logits: tf.Tensor, labels: tf.Tensor, label_smoothing: float = 0.0
) -> tf.Tensor:
  """Returns the cross entropy of each example, float32 of shape (batch,)."""
  classes = logits.shape[-1]
  targets = tf.one_hot(
    labels,
    classes,
    on_value=1.0 - label_smoothing + label_smoothing / classes,
    off_value=label_smoothing / classes,
  )
  return tf.nn.softmax_cross_entropy_with_logits(targets, logits)


def l2_penalty(model: keras.Model, coefficient: float) -> tf.Tensor:
  """Returns coefficient / 2 times the squared norm of all parameters.

  Its gradient is the `weight_decay` of PyTorch's SGD, which the paper's image
  experiments use: it goes through the momentum, and batch norm parameters and
  biases are not exempt.
  """
  if not coefficient:
    return tf.constant(0.0)
  return coefficient * tf.add_n(
    [tf.nn.l2_loss(v.value) for v in model.trainable_variables]
  )


def is_correct(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
  """Returns 1 for each example that is classified rightly, else 0, float32."""
  predictions = tf.argmax(logits, axis=-1, output_type=tf.int32)
  return tf.cast(predictions == labels, tf.float32)
