"""The loss of a Transformer on every sentence pair of a split."""

from collections.abc import Callable

import keras
import ml_collections
import tensorflow as tf

from trainers import evaluation
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

  def measure(batch):
    logits = model(batch, training=False)
    losses = training_step.smoothed_cross_entropy(logits, batch["target"], 0.0)
    correct = training_step.is_correct(logits, batch["target"])
    return losses, correct, tf.cast(batch["target_segments"] > 0, tf.float32)

  return evaluation.make_means(
    measure, batches, strategy, training_step.uses_xla(config, strategy)
  )
