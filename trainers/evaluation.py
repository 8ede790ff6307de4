"""Means over all examples of a split, whatever the batches and the replicas."""

from collections.abc import Callable, Iterable
from typing import Any

import tensorflow as tf

from trainers import compilation


def make_means(
  measure: Callable[[Any], tuple[tf.Tensor, tf.Tensor, tf.Tensor]],
  batches: Iterable[Any],
  strategy: tf.distribute.Strategy,
  jit_compile: bool,
) -> Callable[[], dict[str, float]]:
  """Returns a function that gives the mean loss and accuracy.

  Args:
    measure: A function of one replica's batch: returns losses, whether they are
      of right answers (1 or 0), and weights, each float32 of one shape. What
      only fills up a batch has weight 0.
    batches: Distributed batches, gone through at each call.
    strategy: The one to measure with.
    jit_compile: Whether XLA compiles one replica's part.
  """

  @tf.function(jit_compile=jit_compile)
  def sums_of(batch):
    losses, correct, weights = measure(batch)
    return tf.stack(
      [
        tf.reduce_sum(losses * weights),
        tf.reduce_sum(correct * weights),
        tf.reduce_sum(weights),
      ]
    )

  @compilation.concrete
  @tf.function
  def sum_over_replicas(batch):
    parts = strategy.run(sums_of, args=(batch,))
    return strategy.reduce(tf.distribute.ReduceOp.SUM, parts, axis=None)

  def means():
    sums = sum(sum_over_replicas(batch) for batch in batches)
    loss, correct, count = sums.numpy().tolist()
    return {"loss": loss / count, "accuracy": correct / count}

  return means
