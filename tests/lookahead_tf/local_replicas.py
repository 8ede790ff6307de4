"""Two replicas that make the steps of a period by themselves."""

import keras
import numpy as np
import tensorflow as tf

from lookahead_tf import Lookahead
from tests import replicas
from tests.lookahead_tf import small_model
from tests.lookahead_tf.small_model import make, values

K = 3
REPLICAS = 2


def sgd(**arguments):
  """Returns SGD with momentum."""
  return keras.optimizers.SGD(0.2, 0.9, **arguments)


def local(inner, k=K, **arguments):
  """Returns a Lookahead whose replicas meet once a period."""
  return Lookahead(inner, k, local_steps=True, **arguments)


def rows_of(step, replica):
  """Returns the half of a batch that is a replica's."""
  half = small_model.BATCH_SIZE // REPLICAS
  x, y = small_model.batch(step)
  rows = slice(replica * half, (replica + 1) * half)
  return x[rows], y[rows]


def gradient_of(weights, replica, step):
  """Returns the gradient of a replica's half of a batch."""
  return small_model.gradient_of(weights, *rows_of(step, replica))


def train_alone(optimizer, steps):
  """Returns a model that one device trained on the first half of each batch."""
  model = make(hidden=3)
  for step in range(steps):
    gradients = small_model.gradient_of(
      values(model.trainable_variables), *rows_of(step, 0)
    )
    optimizer.apply(small_model.tensors(gradients), model.trainable_variables)
  return model


class Replicas:
  """A model on two replicas, each of which trains on half of each batch.

  Args:
    make_optimizer: Returns the optimizer.
    same_data: Whether both train on the first half.
    **arguments: Of `small_model.make`.
  """

  def __init__(self, make_optimizer, same_data=False, **arguments):
    self.strategy = replicas.mirrored()
    with self.strategy.scope():
      self.model = make(**{"hidden": 3} | arguments)
      self.optimizer = make_optimizer()
      self.optimizer.build(self.model.trainable_variables)
    self._same_data = same_data
    self.initial = [w.astype(np.float64) for w in self.model.get_weights()]

  def train(self, first, last):
    """Makes the steps from `first` to before `last`."""
    model, optimizer = self.model, self.optimizer

    def replica_step(x, y):
      with tf.GradientTape() as tape:
        error = tf.cast(model(x), tf.float32) - y
        loss = tf.reduce_mean(error**2) / REPLICAS
      variables = model.trainable_variables
      optimizer.apply(tape.gradient(loss, variables), variables)

    @tf.function
    def step(x, y):
      self.strategy.run(replica_step, (x, y))

    for i in range(first, last):
      parts = [
        rows_of(i, 0 if self._same_data else replica)
        for replica in range(REPLICAS)
      ]
      step(
        *(
          self.strategy.experimental_distribute_values_from_function(
            lambda c, each=each: tf.constant(each[c.replica_id_in_sync_group])
          )
          for each in zip(*parts)
        )
      )

  def weights(self, replica):
    """Returns the weights of one replica."""
    return [v.value.values[replica].numpy() for v in self.model.weights]
