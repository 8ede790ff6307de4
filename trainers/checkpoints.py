"""Checkpoints of a run: model, optimizer and step."""

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

  @property
  def latest(self) -> str | None:
    """The path of the last checkpoint, or None."""
    return self._manager.latest_checkpoint

  def restore(self) -> int:
    """Restores the last checkpoint, if any; returns its step, or 0."""
    if self.latest:
      self._manager.checkpoint.restore(self.latest).assert_consumed()
    return int(self._step.numpy())

  def save(self, step: int) -> None:
    """Saves the state after `step` training steps."""
    self._step.assign(step)
    self._manager.save(checkpoint_number=step)
