"""Checkpoints of a run: model, optimizer, step, best result, and replicas."""

import os
import warnings
from collections.abc import Callable

import keras
import tensorflow as tf

from trainers import agreement, checkpoint_files, local_steps, optimizers
from trainers.checkpoint_files import path_of, step_of
from trainers.errors import UserError, first_line
from trainers.files import check_no_pattern, writing

# Errors of a file system that cannot be reached. The file itself may be whole.
_TRANSIENT = (
  tf.errors.AbortedError,
  tf.errors.CancelledError,
  tf.errors.DeadlineExceededError,
  tf.errors.PermissionDeniedError,
  tf.errors.ResourceExhaustedError,
  tf.errors.UnauthenticatedError,
  tf.errors.UnavailableError,
)
# Errors of a file that cannot be read. TensorFlow raises an IndexError or a
# ValueError for a file that was cut off.
_UNREADABLE = (tf.errors.OpError, IndexError, ValueError)


class Checkpoints:
  """Saves the last checkpoints of a run and the best one.

  The last checkpoints are in `workdir`/checkpoints, the best in `workdir`/best.

  The input and all random numbers of a trainer are functions of the step and of
  seeds in the model's state, so a checkpoint stores nothing else of them.

  A checkpoint is written under another name and then moved into place, its
  index last. A checkpoint counts if its index is there, so a process that is
  killed leaves a whole checkpoint or none. Older checkpoints are removed last.

  Replicas with local steps have weights of their own within a period. Each
  process writes the weights of its replicas beside a checkpoint, before the
  chief writes the checkpoint itself.

  Args:
    workdir: Directory of the run.
    model: A built Keras model.
    optimizer: Its built optimizer, saved with all slots and slow weights.
    keep: How many of the last checkpoints to keep.
    is_due: Whether the config asks for a checkpoint of a step. A checkpoint of
      another step, as after a SIGTERM, is removed when the next one is saved,
      so the checkpoints at the end are those of a run that was not stopped.
    state: Further state to save, or None.
    strategy: Strategy of the variables; None for checkpoints to read weights
      from.

  Raises:
    UserError: if TensorFlow would take the path of a checkpoint for a pattern.
  """

  def __init__(
    self,
    workdir: str,
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    keep: int = 2,
    is_due: Callable[[int], bool] = lambda step: True,
    state: tf.Module | None = None,
    strategy: tf.distribute.Strategy | None = None,
  ):
    check_no_pattern(workdir=workdir)
    self._replicas = None
    if strategy is not None and optimizers.is_local(optimizer):
      self._replicas = local_steps.ReplicaFiles(optimizer, strategy)
    self._step = tf.Variable(0, dtype=tf.int64)
    self._best = tf.Variable(-float("inf"), dtype=tf.float64)
    self._checkpoint = tf.train.Checkpoint(
      model=model,
      optimizer=optimizer,
      step=self._step,
      best=self._best,
      # Keras does not show the state of its seed generators to TensorFlow.
      seeds=[v.value for v in agreement.seed_states(model)],
      **({} if state is None else {"state": state}),
    )
    self.workdir = workdir
    self._directory = os.path.join(workdir, "checkpoints")
    self._best_directory = os.path.join(workdir, "best")
    self._keep, self._is_due = keep, is_due
    self._unreadable = set()

  @property
  def latest(self) -> str | None:
    """The path of the last checkpoint that is whole, or None."""
    return self.paths[-1] if self.paths else None

  @property
  def latest_step(self) -> int:
    """The step of the last checkpoint that is whole, or 0."""
    return step_of(self.latest) if self.latest else 0

  @property
  def paths(self) -> list[str]:
    """The paths of the last checkpoints that are whole, the oldest first."""
    return self._readable(self._directory)

  @property
  def best(self) -> str | None:
    """The path of the best checkpoint, or None."""
    paths = checkpoint_files.whole(self._best_directory)
    return paths[-1] if paths else None

  def read(self, path: str) -> int:
    """Restores one checkpoint; returns its step.

    Raises:
      UserError: if it is of another model or optimizer, or cannot be read.
    """
    try:
      self._checkpoint.read(path).assert_consumed()
    except (AssertionError, *_UNREADABLE) as error:
      raise UserError(
        f"Checkpoint {path} cannot be read: {first_line(error)}"
      ) from error
    return int(self._step.numpy())

  def restore(self) -> int:
    """Restores the last checkpoint that can be read; returns its step, or 0.

    Warns of each checkpoint that cannot be read.

    Raises:
      UserError: if there are checkpoints but none can be read, or if the file
        system is out of reach.
    """
    for path in checkpoint_files.without_index(self._directory):
      warnings.warn(
        f"Checkpoint {path} has no index file and is left out: it was never "
        "finished, or the file was removed.",
        stacklevel=2,
      )
    while path := self.latest:
      try:
        self._checkpoint.read(path).assert_consumed()
        if self._replicas is not None:
          self._replicas.read(path)
        return int(self._step.numpy())
      except _TRANSIENT as error:
        raise UserError(
          f"Checkpoint {path} cannot be reached: {first_line(error)}. Run the "
          "same command again when it can."
        ) from error
      except _UNREADABLE as error:
        self._unreadable.add(path)
        warnings.warn(
          f"Checkpoint {path} cannot be read, so training goes on from the one "
          f"before it: {first_line(error)}",
          stacklevel=2,
        )
    if self._unreadable:
      raise UserError(
        f"None of the checkpoints in {self._directory} can be read: restore "
        "its files, or remove it to begin anew."
      )
    return 0

  def save_replicas(self, step: int) -> None:
    """Saves what the replicas of this process have of their own.

    All processes have to call `save_replicas` before the chief calls `save`,
    and the chief has to wait for the others.

    Raises:
      UserError: if the file cannot be written.
    """
    if self._replicas is not None:
      path = path_of(self._directory, step)
      with _writing(path, self._replicas.unfinished):
        tf.io.gfile.makedirs(self._directory)
        self._replicas.write(path)

  def save(self, step: int) -> None:
    """Saves the state after `step` training steps.

    Raises:
      UserError: if it cannot be written. Earlier checkpoints stay.
    """
    self._save(self._directory, step, self._kept)

  def save_if_best(self, step: int, result: float) -> None:
    """Saves the state if no result before was greater than `result`.

    The later of equal results is the best: while a metric is too coarse to tell
    two states apart, as a BLEU of 0 or an accuracy of 1 is, the loss goes on to
    fall. A result that is not a number is never the best.

    Raises:
      UserError: as `save` does.
    """
    if result >= float(self._best.numpy()):
      self._best.assign(result)
      # Not the last by its step: a run that was killed, and goes on from an
      # earlier checkpoint, may have left a later one.
      self._save(
        self._best_directory,
        step,
        lambda paths: [p for p in paths if step_of(p) == step],
      )

  def _kept(self, paths):
    """Returns the last `keep` of the paths that are due, and the last path."""
    due = [path for path in paths if self._is_due(step_of(path))]
    return [*due[-self._keep :], paths[-1]]

  def _save(self, directory, step, choose):
    self._step.assign(step)
    path = path_of(directory, step)
    with _writing(path):
      tf.io.gfile.makedirs(directory)
      own = self._replicas.names(f"ckpt-{step}") if self._replicas else []
      local_steps.remove_other_files(directory, step, own)
      checkpoint_files.write(self._checkpoint, path)
      self._unreadable.discard(path)
      self._remove_old(directory, choose)

  def _remove_old(self, directory, choose):
    """Removes checkpoints that `choose` leaves out, or that cannot be read."""
    whole = self._readable(directory)
    kept = choose(whole)
    for path in [
      *(p for p in whole if p not in kept),
      *self._unreadable,
      *checkpoint_files.without_index(directory),
    ]:
      checkpoint_files.remove(path)
    self._unreadable.clear()

  def _readable(self, directory):
    """Returns the whole checkpoints but for those that could not be read."""
    whole = checkpoint_files.whole(directory)
    return [path for path in whole if path not in self._unreadable]


def exist(workdir: str) -> bool:
  """Whether a run has a checkpoint to go on from."""
  return bool(checkpoint_files.whole(os.path.join(workdir, "checkpoints")))


def _writing(path, unfinished=checkpoint_files.UNFINISHED):
  """Returns a context manager for writing a checkpoint; see `files.writing`.

  Args:
    path: Path of the checkpoint.
    unfinished: Name of its files until they are whole.
  """
  directory = os.path.dirname(path)
  return writing(
    path,
    on_error=lambda: checkpoint_files.remove_unfinished(directory, unfinished),
  )
