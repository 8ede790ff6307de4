"""What a checkpoint of a language model holds beside weights and step.

That is the state of the LSTM between the segments of a text, and the factors of
the learning rate.
"""

import functools
import math
from collections.abc import Sequence

import tensorflow as tf

from trainers import tracing
from trainers.language_modeling.lstm import State
from trainers.language_modeling.regularization import replica


class CarriedState(tf.Module):
  """h and c of each layer, for the columns of all replicas.

  Every replica holds the states of all columns: so a checkpoint has them
  whichever process writes it, and a run can go on with any number of replicas.
  Replicas that make steps by themselves hold their own, until `gather`.

  Args:
    widths: Of the layers' outputs.
    columns: Columns of the text, over all replicas.
    strategy: The strategy, by whose replicas the columns are divided.
    is_local: Whether replicas do not meet in each step.
  """

  def __init__(
    self,
    widths: Sequence[int],
    columns: int,
    strategy: tf.distribute.Strategy,
    is_local: bool = False,
  ):
    super().__init__()
    self._strategy, self._is_local = strategy, is_local
    self._replicas = strategy.num_replicas_in_sync
    self._rows = columns // self._replicas
    with strategy.scope():
      self._states = [
        tf.Variable(tf.zeros((columns, width)), trainable=False, name=name)
        for width in widths
        for name in ("h", "c")
      ]

  def read(self, is_first: tf.Tensor, dtype: tf.DType) -> list[State]:
    """Returns the state of each layer for this replica's columns.

    Args:
      is_first: Whether a text begins, a bool scalar: then the state is 0.
      dtype: Of h.
    """
    keep = tf.cast(~is_first, tf.float32)
    values = [value * keep for value in self._own()]
    return [(tf.cast(h, dtype), c) for h, c in zip(values[::2], values[1::2])]

  def write(self, states: Sequence[State]) -> None:
    """Replaces the state of each layer for this replica's columns."""
    values = [tf.cast(v, tf.float32) for state in states for v in state]
    self._assign(values, is_shared=not self._is_local)

  def gather(self) -> None:
    """Gives all replicas the states of all columns, before a checkpoint.

    All processes have to call it, between steps.
    """
    if self._is_local and self._replicas > 1:
      self._gather()

  @functools.cached_property
  def _gather(self):
    @tracing.concrete
    @tf.function(autograph=False)
    def gather():
      self._strategy.run(lambda: self._assign(self._own(), is_shared=True))

    return gather

  def _own(self):
    """Returns the values of the columns of this replica."""
    values = [tf.convert_to_tensor(variable) for variable in self._states]
    if self._replicas == 1:
      return values
    # Not by strides, whose result has no static shape: TPUs need one.
    return [
      tf.slice(value, [replica() * self._rows, 0], [self._rows, value.shape[1]])
      for value in values
    ]

  def _assign(self, values, is_shared):
    """Assigns the states of this replica's columns.

    Args:
      values: Their values.
      is_shared: Whether all replicas get them.
    """
    if self._replicas > 1:
      # Each replica's own columns, and 0 for those of others: their sum is
      # what all of them have.
      mine = tf.one_hot(
        replica(), self._replicas, on_value=True, off_value=False
      )
      mine = mine[:, tf.newaxis, tf.newaxis]
      values = [
        tf.reshape(tf.where(mine, v[tf.newaxis], 0.0), (-1, v.shape[1]))
        for v in values
      ]
      if is_shared:
        context = tf.distribute.get_replica_context()
        values = context.all_reduce(tf.distribute.ReduceOp.SUM, values)
    for variable, value in zip(self._states, values):
      variable.assign(value)


class RateFactors(tf.Module):
  """Variables that multiply the learning rate.

  `plateau` follows the evaluation losses, and `length` the length of the
  segment.

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


class Progress(tf.Module):
  """What a run that goes on needs beside model, optimizer and step.

  Args:
    carried: The state of the LSTM behind the last segment.
    factors: Of the learning rate.
  """

  def __init__(self, carried: CarriedState, factors: RateFactors):
    super().__init__()
    self.carried, self.factors = carried, factors
