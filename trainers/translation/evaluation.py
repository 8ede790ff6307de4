"""The loss of a Transformer on every sentence pair of a split."""

from collections.abc import Callable

import keras
import ml_collections
import tensorflow as tf

from trainers.translation import input_pipeline, training_step
from trainers.translation.prepared import Rows


def make_loss(
  model: keras.Model,
  rows: Rows,
  config: ml_collections.ConfigDict,
  rows_per_batch: int,
  strategy: tf.distribute.Strategy,
) -> Callable[[], dict[str, float]]:
  """Returns a function that evaluates the weights that the model has then.

  It gives the mean loss, the cross entropy in nats without label smoothing, and
  the accuracy, over all target tokens and ends of sentences.

  Args:
    model: The model.
    rows: What to evaluate on.
    config: An experiment.
    rows_per_batch: Over all replicas.
    strategy: The one that the model was made for.
  """
  batches = strategy.distribute_datasets_from_function(
    lambda context: input_pipeline.evaluation_batches(
      rows, global_batch_size=rows_per_batch, context=context
    )
  )

  @tf.function(jit_compile=training_step.uses_xla(config, strategy))
  def sums_of(batch):
    is_token = tf.cast(batch["target_segments"] > 0, tf.float32)
    logits = model(batch, training=False)
    losses = training_step.smoothed_cross_entropy(logits, batch["target"], 0.0)
    correct = training_step.is_correct(logits, batch["target"])
    return tf.stack(
      [
        tf.reduce_sum(losses * is_token),
        tf.reduce_sum(correct * is_token),
        tf.reduce_sum(is_token),
      ]
    )

  @tf.function
  def sum_over_replicas(batch):
    parts = strategy.run(sums_of, args=(batch,))
    return strategy.reduce(tf.distribute.ReduceOp.SUM, parts, axis=None)

  def evaluate():
    sums = sum(sum_over_replicas(batch) for batch in batches)
    loss, correct, count = sums.numpy().tolist()
    return {"loss": loss / count, "accuracy": correct / count}

  return evaluate
