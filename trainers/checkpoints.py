"""Checkpoints of a run: model, optimizer, step and best result."""

import os
import re
import warnings

import keras
import tensorflow as tf

from trainers import replica_state
from trainers.errors import UserError


class Checkpoints:
  """Saves to `workdir`/checkpoints the last ones, to `workdir`/best the best.

  The input and all random numbers of a trainer are functions of the step and of
  seeds in the model's state, so nothing else has to be stored of them.

  A checkpoint counts from the moment when its index file is there, which
  TensorFlow writes last and moves into place: a process that is killed leaves a
  whole checkpoint or none. Older ones are removed after that.

  Args:
    workdir: Directory of the run.
    model: A built Keras model.
    optimizer: Its built optimizer, saved with all slots and slow weights.
    keep: How many of the last checkpoints to keep.
  """

  def __init__(
    self,
    workdir: str,
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    keep: int = 2,
  ):
    self._step = tf.Variable(0, dtype=tf.int64)
    self._best = tf.Variable(-float("inf"), dtype=tf.float64)
    self._checkpoint = tf.train.Checkpoint(
      model=model,
      optimizer=optimizer,
      step=self._step,
      best=self._best,
      # Keras does not show the state of its seed generators to TensorFlow.
      seeds=[v.value for v in replica_state.seed_states(model)],
    )
    self._last = self._manager(workdir, "checkpoints", keep)
    self._best_one = self._manager(workdir, "best", 1)

  def _manager(self, workdir, name, keep):
    return tf.train.CheckpointManager(
      self._checkpoint, tf.io.gfile.join(workdir, name), max_to_keep=keep
    )

  @property
  def latest(self) -> str | None:
    """The path of the last checkpoint, or None."""
    paths = self._paths()
    return paths[-1] if paths else None

  def _paths(self):
    """Returns the checkpoints that are there, in the order of their steps."""
    pattern = os.path.join(self._last.directory, "ckpt-*.index")
    paths = [path.removesuffix(".index") for path in tf.io.gfile.glob(pattern)]
    return sorted(paths, key=_step_of)

  def restore(self) -> int:
    """Restores the last checkpoint that can be read; returns its step, or 0.

    Warns of each one that cannot.

    Raises:
      UserError: if there are checkpoints but none can be read.
    """
    paths = self._paths()
    for path in reversed(paths):
      try:
        self._checkpoint.restore(path).assert_consumed()
        return int(self._step.numpy())
      # A file that was cut off is an IndexError or a ValueError to TensorFlow.
      except (tf.errors.OpError, IndexError, ValueError) as error:
        warnings.warn(
          f"Checkpoint {path} cannot be read, so training goes on from the one "
          f"before it: {_first_line(error)}",
          stacklevel=2,
        )
    if paths:
      raise UserError(
        f"None of the checkpoints in {self._last.directory} can be read: "
        "restore its files, or remove it to begin anew."
      )
    return 0

  def save(self, step: int) -> None:
    """Saves the state after `step` training steps.

    Raises:
      UserError: if it cannot be written. Those that are there stay.
    """
    self._save(self._last, step)

  def save_if_best(self, step: int, result: float) -> None:
    """Saves the state if no result before was as great as `result`.

    Raises:
      UserError: as `save` does.
    """
    if result > float(self._best.numpy()):
      self._best.assign(result)
      self._save(self._best_one, step)

  def _save(self, manager, step):
    self._step.assign(step)
    try:
      manager.save(checkpoint_number=step)
    except tf.errors.OpError as error:
      _remove_remains(manager.directory)
      raise UserError(
        f"The checkpoint of step {step} cannot be written to "
        f"{manager.directory}: {_first_line(error)}. Make room, and run the "
        f"same command again: it goes on from {self.latest or 'the start'}."
      ) from error


def _step_of(path):
  return int(re.search(r"ckpt-(\d+)$", path)[1])


def _first_line(error):
  return str(error).strip().split("\n")[0][:300]


def _remove_remains(directory):
  """Removes what a checkpoint that failed has left."""
  for path in tf.io.gfile.glob(os.path.join(directory, "*temp*")):
    if tf.io.gfile.isdir(path):
      tf.io.gfile.rmtree(path)
    else:
      tf.io.gfile.remove(path)
