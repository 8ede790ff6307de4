"""What one replica does with a batch of rows: training and evaluation."""

import math
from collections.abc import Callable, Mapping

import keras
import tensorflow as tf

from trainers import metrics, optimizers
from trainers.input import Input

Batch = Mapping[str, tf.Tensor]


def make_train_step(
  model: keras.Model,
  optimizer: keras.optimizers.Optimizer,
  label_smoothing: float,
  clipping: optimizers.Clipping,
  *,
  replicas: int,
  jit_compile: bool,
  jit_compile_loss: bool = False,
) -> Callable[[Batch], dict[str, tf.Tensor]]:
  """Returns one replica's training step.

  The step takes a batch of a RowsPipeline, updates the model, and returns three
  float32 scalars: the replica's share of the loss and of the accuracy over all
  target tokens of the global batch, and its own number of target tokens.

  Args:
    model: From `model.make_model`.
    optimizer: Built.
    label_smoothing: In [0, 1); see `smoothed_cross_entropy`.
    clipping: Applied to the gradients.
    replicas: Number of replicas.
    jit_compile: Whether XLA compiles the step.
    jit_compile_loss: Whether XLA compiles the loss, in a step that XLA does not
      compile.
  """
  is_local = optimizers.is_local(optimizer)
  cross_entropy = smoothed_cross_entropy
  if jit_compile_loss:
    # XLA goes over the logits, the largest tensor of the step, in half the
    # time.
    cross_entropy = tf.function(
      smoothed_cross_entropy, jit_compile=True, autograph=False
    )

  @tf.function(jit_compile=jit_compile, autograph=False)
  def train_step(batch):
    is_token = tf.cast(batch["target_segments"] > 0, tf.float32)
    count = tf.reduce_sum(is_token)
    # Rows hold different numbers of tokens, and so do the replicas' parts.
    global_count = count
    if is_local:
      global_count = replicas * count  # As if all had as many.
    elif replicas > 1:
      context = tf.distribute.get_replica_context()
      global_count = context.all_reduce(tf.distribute.ReduceOp.SUM, count)
    share = is_token / tf.maximum(global_count, 1.0)
    with tf.GradientTape() as tape:
      logits = model(batch, training=True)
      losses = cross_entropy(logits, batch["target"], label_smoothing)
      # The optimizer sums gradients over replicas.
      loss = tf.reduce_sum(losses * share)
      scaled = optimizer.scale_loss(loss)
    variables = model.trainable_variables
    optimizer.apply(clipping(tape.gradient(scaled, variables)), variables)
    correct = metrics.is_correct(logits, batch["target"])
    return {
      "loss": loss,
      "accuracy": tf.reduce_sum(correct * share),
      "target_tokens": count,
    }

  return train_step


def make_loss(
  model: keras.Model,
  validation: Input,
  strategy: tf.distribute.Strategy,
  *,
  jit_compile: bool,
) -> Callable[[], dict[str, float]]:
  """Returns a function that evaluates the weights that the model holds.

  The function returns the mean loss and the accuracy over all target tokens and
  ends of sentences. The loss is the cross entropy in nats without label
  smoothing.

  Args:
    model: From `model.make_model`.
    validation: What to evaluate on.
    strategy: The strategy that the model was made for.
    jit_compile: Whether XLA compiles one replica's part.
  """

  def measure(batch):
    logits = model(batch, training=False)
    losses = smoothed_cross_entropy(logits, batch["target"], 0.0)
    correct = metrics.is_correct(logits, batch["target"])
    return losses, correct, tf.cast(batch["target_segments"] > 0, tf.float32)

  return metrics.make_means(
    measure, validation.examples(), strategy, jit_compile
  )


def smoothed_cross_entropy(
  logits: tf.Tensor, targets: tf.Tensor, smoothing: float
) -> tf.Tensor:
  """Returns each token's cross entropy with a smoothed target, less its least.

  The smoothed target gives 1 - smoothing to the token and the rest to all
  others, in equal parts. Its own entropy, which no model can go below, is
  subtracted, as tensor2tensor does (`smoothing_cross_entropy` in
  layers/common_layers.py): so 0 is the least, whatever the smoothing.

  Args:
    logits: float32 (..., vocabulary size).
    targets: int32 (...).
    smoothing: In [0, 1).

  Returns:
    float32 (...), in nats.
  """
  losses = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)
  if not smoothing:
    return losses
  size = logits.shape[-1]
  other = smoothing / (size - 1)
  # The cross entropies with all tokens, summed without one tensor of them.
  total = size * tf.reduce_logsumexp(logits, -1) - tf.reduce_sum(logits, -1)
  least = -(
    (1 - smoothing) * math.log(1 - smoothing) + smoothing * math.log(other)
  )
  return (1 - smoothing - other) * losses + other * total - least
