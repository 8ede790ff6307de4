"""The learning rate's factors: of what evaluations say, and of the length."""

import math

import tensorflow as tf


class RateFactors(tf.Module):
  """Variables that multiply the learning rate.

  Args:
    patience: After so many evaluations in a row without a better loss the rate
      is multiplied by `factor`; 0 for never.
    factor: In (0, 1).
    strategy: The strategy to train with.

  Attributes:
    plateau: The product of all that evaluations have decided.
    length: The length of the segment under way over the usual one; 1 between
      steps.
  """

  def __init__(
    self, patience: int, factor: float, strategy: tf.distribute.Strategy
  ):
    super().__init__()
    self._patience, self._factor = patience, factor
    with strategy.scope():
      self.plateau = tf.Variable(1.0, trainable=False)
      self.length = tf.Variable(1.0, trainable=False)
      self._best = tf.Variable(math.inf, dtype=tf.float64, trainable=False)
      self._waited = tf.Variable(0, dtype=tf.int64, trainable=False)

  def observe(self, loss: float) -> None:
    """Takes notice of the loss of an evaluation."""
    if loss < float(self._best.numpy()):
      self._best.assign(loss)
      self._waited.assign(0)
      return
    waited = int(self._waited.numpy()) + 1
    if self._patience and waited >= self._patience:
      self.plateau.assign(self.plateau.numpy() * self._factor)
      waited = 0
    self._waited.assign(waited)
