"""Checkpoints of a run: model, optimizer and step."""

from typing import Any

import keras
import tensorflow as tf


class Checkpoints:
  """Saves to and restores from `workdir`/checkpoints.

  The input and all random numbers of a trainer are functions of the step, so
  the step is all that is stored of them.

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
    self._manager = tf.train.CheckpointManager(
      tf.train.Checkpoint(model=model, optimizer=optimizer, step=self._step),
      tf.io.gfile.join(workdir, "checkpoints"),
      max_to_keep=keep,
    )

  def restore(self) -> int:
    """Restores the last checkpoint, if any; returns its step, or 0."""
    path: Any = self._manager.latest_checkpoint
    if path:
      self._manager.checkpoint.restore(path).assert_consumed()
    return int(self._step.numpy())

  def save(self, step: int) -> None:
    """Saves the state after `step` training steps."""
    self._step.assign(step)
    self._manager.save(checkpoint_number=step)
