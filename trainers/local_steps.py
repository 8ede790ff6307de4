"""What local steps add to a run: metrics of meetings, and files of replicas.

With `Lookahead(local_steps=True)` replicas train alone within a period, each
with weights of its own. They meet at the end of the period only.
"""

import os
import re
import warnings
from collections.abc import Sequence

import keras
import tensorflow as tf

from lookahead_tf import Lookahead
from trainers import checkpoint_files, optimizers
from trainers.checkpoint_files import DATA, INDEX, NAME, REPLICAS, step_of


class LocalStepMetrics:
  """Metrics of replicas that meet only at the end of a period.

  Args:
    optimizer: The built optimizer of the run, of any kind.

  Attributes:
    is_active: Whether the replicas train alone within a period.
  """

  def __init__(self, optimizer: keras.optimizers.Optimizer):
    self._optimizer = optimizer
    self.is_active = (
      optimizers.is_local(optimizer) and optimizer.meeting_bytes > 0
    )
    self._before = self._count()

  def metrics(self, steps: int) -> dict[str, float]:
    """Returns metrics of the meetings since the last call; {} if not active.

    Args:
      steps: How many steps there were since the last call.
    """
    if not self.is_active:
      return {}
    count = self._count()
    sent = (count - self._before) * self._optimizer.meeting_bytes / steps
    self._before = count
    return {
      "train/replica_drift": self._optimizer.replica_drift,
      "train/bytes_sent_per_step": sent,
    }

  def _count(self):
    if not self.is_active:
      return 0
    return int(keras.ops.convert_to_numpy(self._optimizer.periods_done))


class ReplicaFiles:
  """Files beside a checkpoint, with what only one process' replicas have.

  Each process writes one file, before the chief writes the checkpoint itself.

  Args:
    lookahead: A Lookahead with local steps.
    strategy: The strategy of its variables.

  Attributes:
    unfinished: What the file of this process is called while it is written.
  """

  def __init__(self, lookahead: Lookahead, strategy: tf.distribute.Strategy):
    own = lookahead.replica_variables()
    self._lookahead = lookahead
    self._checkpoint = tf.train.Checkpoint(replicas=own)
    self._count = strategy.num_replicas_in_sync
    self._local = len(own)
    self._process = 0
    if 0 < self._local < self._count:
      self._process = strategy.cluster_resolver.task_id
    self.unfinished = f"{checkpoint_files.UNFINISHED}-{self._process}"

  def names(self, start: str) -> list[str]:
    """Returns the names of the files of all processes, none of one replica.

    Args:
      start: Name or path of the checkpoint.
    """
    if not self._local:
      return []
    processes = self._count // self._local
    return [
      f"{start}.replicas-{process}-of-{processes}x{self._local}"
      for process in range(processes)
    ]

  def write(self, path: str) -> None:
    """Writes the file of this process for a checkpoint at `path`."""
    if self._local:
      own = self.names(path)[self._process]
      checkpoint_files.write(self._checkpoint, own, self.unfinished)

  def read(self, path: str) -> None:
    """Reads the file of this process, or starts a period from the slow weights.

    Args:
      path: Path of the checkpoint, which was read before.
    """
    folder, name = os.path.split(path)
    pattern = f"({re.escape(name)}{REPLICAS}){INDEX}"
    found = {match[1] for match in checkpoint_files.matches(folder, pattern)}
    if found == set(self.names(name)):
      if self._local:
        own = self.names(path)[self._process]
        self._checkpoint.read(own).assert_consumed()
      return
    warnings.warn(
      f"Checkpoint {path} was not saved by {self._count} replicas, each with "
      "weights of its own: training goes on from the slow weights, which all "
      "of them had.",
      stacklevel=3,
    )
    self._lookahead.finish_training()


def remove_other_files(directory: str, step: int, own: Sequence[str]) -> None:
  """Removes files of replicas that belong to no checkpoint.

  These are files of this step that another number of replicas or processes
  saved, and files of earlier steps without a checkpoint.

  Args:
    directory: Directory of checkpoints.
    step: Step of the checkpoint that will be written.
    own: Names of the files of replicas that belong to that checkpoint.
  """
  whole = {os.path.basename(p) for p in checkpoint_files.whole(directory)}
  pattern = f"({NAME}{REPLICAS})({INDEX}|{DATA})"
  for match in checkpoint_files.matches(directory, pattern):
    name, checkpoint = match[1], match[2]
    is_other = step_of(checkpoint) == step and name not in own
    is_old = step_of(checkpoint) < step and checkpoint not in whole
    if is_other or is_old:
      tf.io.gfile.remove(os.path.join(directory, match[0]))
