"""What the processes of one run have to agree on."""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from trainers.errors import UserError


def make_gather(
  strategy: tf.distribute.Strategy,
) -> Callable[[int], list[int]]:
  """Returns a function from this process' number to those of all replicas.

  All processes have to call it. With one process it returns the number alone.
  """
  if not strategy.extended._in_multi_worker_mode():
    return lambda number: [number]

  @tf.function
  def gather(number):
    def one_replica():
      context = tf.distribute.get_replica_context()
      # A copy on this replica's device, where the collective looks for it.
      return context.all_gather(tf.identity(number)[tf.newaxis], axis=0)

    return strategy.experimental_local_results(strategy.run(one_replica))[0]

  return lambda number: gather(tf.constant(number)).numpy().tolist()


def check_same_records(
  gather: Callable[[int], list[int]], records: Mapping[str, Any]
) -> None:
  """Raises a UserError unless all processes have the same records.

  Args:
    gather: From `make_gather`.
    records: What decides the result of the run, JSON-like.
  """
  for name, record in records.items():
    content = json.dumps(record, sort_keys=True).encode()
    # What fits into an int32.
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
    step: The one that this process restored.
  """
  steps = gather(step)
  if len(set(steps)) > 1:
    raise UserError(
      f"The processes restored checkpoints of different steps, {steps}: "
      "--workdir must be one directory that all of them see."
    )
