"""Evaluation of an image classifier on every example of a split, once."""

from collections.abc import Callable

import keras
import ml_collections
import tensorflow as tf

from trainers import compilation, errors, evaluation, optimizers
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

  def measure(batch):
    images, labels, weights = batch
    images = input_pipeline.normalize(images, config.data)
    logits = model(images, training=False)
    losses = training_step.cross_entropy(logits, labels)
    return losses, training_step.is_correct(logits, labels), weights

  means = evaluation.make_means(
    measure,
    batches,
    strategy,
    compilation.uses_xla(config.jit_compile, strategy),
  )

  def evaluate():
    with (
      optimizers.weights_to_evaluate(model, optimizer),
      errors.explaining_input(explain),
    ):
      return means()

  return evaluate
