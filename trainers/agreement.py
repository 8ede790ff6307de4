"""What replicas and processes agree on: seeds, statistics, records, steps."""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf

from lookahead_tf import batch_norm
from lookahead_tf.backends import backend
from trainers import tracing
from trainers.errors import UserError

# Odd and far from small numbers, so that no two replicas of one seed, nor
# replicas of neighbouring seeds, come to the same state.
_STRIDE = 0x9E3779B1


def give_replicas_own_seeds(
  model: keras.Model, strategy: tf.distribute.Strategy
) -> None:
  """Folds the replica's number into the state of each seed generator.

  Keras keeps the same state on each replica, so all would draw the same dropout
  mask. Call the function once after the build, and after each restore: a
  restore gives every replica the state of the first one, which is never
  changed.

  Args:
    model: Built in the strategy's scope.
    strategy: The strategy.
  """
  states = seed_states(model)
  if strategy.num_replicas_in_sync == 1 or not states:
    return

  @tracing.concrete
  @tf.function(autograph=False)
  def fold():
    def one_replica():
      context = tf.distribute.get_replica_context()
      replica = tf.cast(context.replica_id_in_sync_group, tf.int64)
      for state in states:
        value = tf.cast(state.value, tf.int64) + tf.stack(
          [replica * _STRIDE, tf.zeros_like(replica)]
        )
        state.assign(tf.cast(value % 2**32, state.dtype))

    strategy.run(one_replica)

  fold()


def seed_states(model: keras.Model) -> list[keras.Variable]:
  """Returns the states of a model's seed generators, uint32 of shape (2,)."""
  return [v for v in model.variables if "seed_generator" in v.path]


def make_average_statistics(
  model: keras.Model, strategy: tf.distribute.Strategy
) -> Callable[[], None]:
  """Returns a function that averages moving statistics over the replicas.

  Each replica follows the statistics of its own examples, and evaluation and
  saving read those of one replica. The mean of moving averages is the moving
  average of means.

  Args:
    model: Built in the strategy's scope.
    strategy: The strategy.
  """
  statistics = batch_norm.statistics(model)
  if strategy.num_replicas_in_sync == 1 or not statistics:
    return lambda: None

  return tracing.concrete(backend.replicas.make_average(statistics))


def make_gather(
  strategy: tf.distribute.Strategy,
) -> Callable[[int], list[int]]:
  """Returns a function from this process' number to those of all processes.

  All processes have to call it. With one process it returns the number alone.
  """
  if not strategy.extended._in_multi_worker_mode():
    return lambda number: [number]

  @tf.function(autograph=False)
  def gather(number):
    return gather_processes(number, strategy)

  return lambda number: gather(tf.constant(number)).numpy().tolist()


def gather_processes(
  value: tf.Tensor, strategy: tf.distribute.Strategy
) -> tf.Tensor:
  """Returns a tensor of each process, of shape (processes, ...).

  Call it outside of the replica context, in a function that is traced.

  Args:
    value: Tensor of this process.
    strategy: The strategy.
  """
  if not strategy.extended._in_multi_worker_mode():
    return value[tf.newaxis]

  def one_replica():
    context = tf.distribute.get_replica_context()
    # A copy on this replica's device, where the collective looks for it.
    return context.all_gather(tf.identity(value)[tf.newaxis], axis=0)

  found = strategy.experimental_local_results(strategy.run(one_replica))
  return found[0][:: len(found)]


def check_same_records(
  gather: Callable[[int], list[int]], records: Mapping[str, Any]
) -> None:
  """Raises a UserError unless all processes have the same records.

  Args:
    gather: From `make_gather`.
    records: All that decides the result of the run, JSON-like.
  """
  for name, record in records.items():
    content = json.dumps(record, sort_keys=True).encode()
    # Seven hexadecimal digits fit into an int32.
    number = int(hashlib.sha256(content).hexdigest()[:7], 16)
    if len(set(gather(number))) > 1:
      raise UserError(
        f"The processes of this run do not have the same {name}: give all of "
        "them the same command, data and versions of packages."
      )


def check_same_step(gather: Callable[[int], list[int]], step: int) -> None:
  """Raises a UserError unless all processes go on from the same step.

  Args:
    gather: From `make_gather`.
    step: Step that this process restored.
  """
  steps = gather(step)
  if len(set(steps)) > 1:
    raise UserError(
      f"The processes restored checkpoints of different steps, {steps}: "
      "--workdir must be one directory that all of them see."
    )
