"""Evaluation of an image classifier on every example of a split, once."""

from collections.abc import Callable

import keras
import ml_collections
import tensorflow as tf

from trainers import compilation, errors, optimizers
from trainers.image_classification import input_pipeline, training_step
from trainers.image_classification.sources import Split


def make_evaluation(
  model: keras.Model,
  optimizer: keras.optimizers.Optimizer,
  split: Split,
  config: ml_collections.ConfigDict,
  strategy: tf.distribute.Strategy,
) -> Callable[[], dict[str, float]]:
  """Returns a function that evaluates the model on the whole split.

  It gives the mean loss and accuracy of the slow weights, over all examples.
  """
  contexts = []  # Of the hosts that this process feeds.

  def make_batches(context):
    contexts.append(context)
    return input_pipeline.evaluation_batches(
      split,
      config.data,
      global_batch_size=config.global_batch_size,
      context=context,
    )

  batches = strategy.distribute_datasets_from_function(make_batches)

  def explain():
    mistakes = (
      input_pipeline.explain_evaluation(split, context) for context in contexts
    )
    return next(filter(None, mistakes), None)

  @tf.function(jit_compile=compilation.uses_xla(config.jit_compile, strategy))
  def eval_step(images, labels, weights):
    images = input_pipeline.normalize(images, config.data)
    logits = model(images, training=False)
    losses = training_step.cross_entropy(logits, labels)
    correct = training_step.is_correct(logits, labels)
    return tf.stack(
      [
        tf.reduce_sum(losses * weights),
        tf.reduce_sum(correct * weights),
        tf.reduce_sum(weights),
      ]
    )

  @tf.function
  def sum_over_replicas(batch):
    parts = strategy.run(eval_step, args=batch)
    return strategy.reduce(tf.distribute.ReduceOp.SUM, parts, axis=None)

  def evaluate():
    with (
      optimizers.weights_to_evaluate(model, optimizer),
      errors.explaining_input(explain),
    ):
      sums = sum(sum_over_replicas(batch) for batch in batches)
    loss, correct, count = sums.numpy().tolist()
    return {"loss": loss / count, "accuracy": correct / count}

  return evaluate
