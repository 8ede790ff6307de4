"""Trains by local steps on some replicas, and writes what each of them has.

python -m tests.lookahead_tf.local_steps_program FILE [REPLICAS]

With TF_CONFIG in the environment each process is a replica. FILE gets arrays:
"REPLICA.INDEX" are the weights, "slow.INDEX" the slow weights of this process.
"""

import os
import sys

import keras
import numpy as np
import tensorflow as tf

from lookahead_tf import Lookahead
from tests.lookahead_tf import small_model

K, STEPS, HIDDEN = 3, 7, 3
RATE, MOMENTUM = 0.2, 0.9
SLOW = {"slow_step_size": 0.7, "slow_momentum": 0.5, "slow_nesterov": True}


def rows(step: int, replica: int, replicas: int):
  """Returns the examples of a replica in a step: small_model has 12 batches."""
  return small_model.batch((step * replicas + replica) % 12)


def main(path, replicas):
  """Trains, and writes the file."""
  if "TF_CONFIG" in os.environ:
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
  else:
    tf.config.set_logical_device_configuration(
      tf.config.list_physical_devices("CPU")[0],
      [tf.config.LogicalDeviceConfiguration()] * replicas,
    )
    strategy = tf.distribute.MirroredStrategy(
      [f"CPU:{i}" for i in range(replicas)]
    )
  with strategy.scope():
    inner = keras.optimizers.SGD(RATE, MOMENTUM)
    optimizer = Lookahead(inner, K, local_steps=True, **SLOW)
    model = small_model.make(hidden=HIDDEN)
    optimizer.build(model.trainable_variables)
  replicas = strategy.num_replicas_in_sync

  def train_on(x, y):
    with tf.GradientTape() as tape:
      loss = tf.reduce_mean((model(x) - y) ** 2) / replicas
    variables = model.trainable_variables
    optimizer.apply(tape.gradient(loss, variables), variables)

  @tf.function
  def step(x, y):
    strategy.run(train_on, (x, y))

  for number in range(STEPS):
    step(
      *(
        strategy.experimental_distribute_values_from_function(
          lambda context, number=number, part=part: tf.constant(
            rows(number, context.replica_id_in_sync_group, replicas)[part]
          )
        )
        for part in range(2)
      )
    )
  found = {
    f"{replica}.{index}": variable.numpy()
    for replica, variables in enumerate(optimizer.replica_variables())
    for index, variable in enumerate(variables[: len(model.weights)])
  }
  found |= {
    f"slow.{index}": keras.ops.convert_to_numpy(variable)
    for index, variable in enumerate(optimizer.slow_weights)
  }
  np.savez(path, drift=optimizer.replica_drift, **found)


if __name__ == "__main__":
  main(sys.argv[1], int(sys.argv[2]) if sys.argv[2:] else 1)
