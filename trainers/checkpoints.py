"""Checkpoints of a run: model, optimizer, step, best result, and replicas."""

import os
import re
import warnings
from collections.abc import Callable

import keras
import tensorflow as tf

from lookahead_tf import Lookahead
from trainers import agreement, optimizers
from trainers.errors import UserError, first_line
from trainers.files import check_no_pattern, writing

_UNFINISHED = "unfinished"
# What a checkpoint consists of, and what TensorFlow leaves of one that fails.
_INDEX = r"\.index"
_DATA = r"\.data-\d{5}-of-\d{5}"
_PARTIAL = rf"({_INDEX}|{_DATA})(\.tempstate\d+)?"
# The files of replicas, behind the name of their checkpoint.
_REPLICAS = r"\.replicas-\d+-of-\d+x\d+"
_NAME = r"(ckpt-(?:0|[1-9]\d*))"
# Of a file system that is out of reach, which says nothing of a file.
_TRANSIENT = (
  tf.errors.AbortedError,
  tf.errors.CancelledError,
  tf.errors.DeadlineExceededError,
  tf.errors.PermissionDeniedError,
  tf.errors.ResourceExhaustedError,
  tf.errors.UnauthenticatedError,
  tf.errors.UnavailableError,
)
# A file that was cut off is an IndexError or a ValueError to TensorFlow.
_UNREADABLE = (tf.errors.OpError, IndexError, ValueError)


class Checkpoints:
  """Saves to `workdir`/checkpoints the last ones, to `workdir`/best the best.

  The input and all random numbers of a trainer are functions of the step and of
  seeds in the model's state, so nothing else has to be stored of them.

  A checkpoint is written under another name and then moved into place, its
  index last. It counts if its index is there: a process that is killed leaves a
  whole checkpoint or none. Older ones are removed after that.

  Replicas that make the steps of a period by themselves have weights of their
  own then. Each process writes those of its replicas beside a checkpoint, and
  before the chief writes the checkpoint itself.

  Args:
    workdir: Directory of the run.
    model: A built Keras model.
    optimizer: Its built optimizer, saved with all slots and slow weights.
    keep: How many of the last checkpoints to keep.
    is_due: Whether a step is one to save after. A checkpoint of another step,
      that of a SIGTERM, is kept beside these, and only until the next one: so
      it changes nothing of which ones there are at the end.
    state: What else is saved, if anything.
    strategy: That of the variables; None for checkpoints to read weights from.

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
      self._replicas = _Replicas(optimizer, strategy)
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
    return _step(self.latest) if self.latest else 0

  @property
  def paths(self) -> list[str]:
    """The paths of the last checkpoints that are whole, the oldest first."""
    return [p for p in _paths(self._directory) if p not in self._unreadable]

  @property
  def best(self) -> str | None:
    """The path of the best checkpoint, or None."""
    paths = _paths(self._best_directory)
    return paths[-1] if paths else None

  def read(self, path: str) -> int:
    """Restores one checkpoint; returns its step.

    Raises:
      UserError: if it is not that of such a model and optimizer, or cannot be
        read.
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

    Warns of each one that cannot.

    Raises:
      UserError: if there are checkpoints but none can be read, or if the file
        system is out of reach.
    """
    for path in _without_index(self._directory):
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

    All processes have to call it before the chief calls `save`, which must wait
    for the others.

    Raises:
      UserError: if it cannot be written.
    """
    if self._replicas is not None:
      path = os.path.join(self._directory, f"ckpt-{step}")
      unfinished = self._replicas.unfinished
      with writing(
        path, on_error=lambda: _remove_unfinished(self._directory, unfinished)
      ):
        tf.io.gfile.makedirs(self._directory)
        self._replicas.write(path)

  def save(self, step: int) -> None:
    """Saves the state after `step` training steps.

    Raises:
      UserError: if it cannot be written. Those that are there stay.
    """
    self._save(self._directory, step, self._kept)

  def save_if_best(self, step: int, result: float) -> None:
    """Saves the state if no result before was greater than `result`.

    Of equal results the later one is the best: while a metric is too coarse to
    tell them apart, as a BLEU of 0 or an accuracy of 1 are, the loss goes on to
    fall. One that is not a number is never the best.

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
        lambda paths: [path for path in paths if _step(path) == step],
      )

  def _kept(self, paths):
    """Returns which of `paths` to keep: those due, and the last in any case."""
    due = [path for path in paths if self._is_due(_step(path))]
    return [*due[-self._keep :], paths[-1]]

  def _save(self, directory, step, choose):
    self._step.assign(step)
    path = os.path.join(directory, f"ckpt-{step}")
    with writing(
      path, on_error=lambda: _remove_unfinished(directory, _UNFINISHED)
    ):
      tf.io.gfile.makedirs(directory)
      self._remove_other_replicas(directory, step)
      _write(self._checkpoint, path, _UNFINISHED)
      self._unreadable.discard(path)
      self._remove_old(directory, choose)

  def _remove_other_replicas(self, directory, step):
    """Removes files of replicas that belong to no checkpoint.

    Those of this step that were saved by other replicas, and those of earlier
    steps whose checkpoint was never written.
    """
    mine = self._replicas.names(f"ckpt-{step}") if self._replicas else []
    whole = {os.path.basename(path) for path in _paths(directory)}
    for match in _matches(directory, f"({_NAME}{_REPLICAS})({_INDEX}|{_DATA})"):
      checkpoint = match[2]
      is_other = checkpoint == f"ckpt-{step}" and match[1] not in mine
      is_old = _step(checkpoint) < step and checkpoint not in whole
      if is_other or is_old:
        tf.io.gfile.remove(os.path.join(directory, match[0]))

  def _remove_old(self, directory, choose):
    """Removes what `choose` leaves out, and what cannot be read."""
    whole = [p for p in _paths(directory) if p not in self._unreadable]
    kept = choose(whole)
    for path in [
      *(p for p in whole if p not in kept),
      *self._unreadable,
      *_without_index(directory),
    ]:
      folder, name = os.path.split(path)
      # Without an index it does not count.
      for suffix in (_INDEX, _DATA, f"{_REPLICAS}({_INDEX}|{_DATA})"):
        _remove(folder, name + suffix)
    self._unreadable.clear()


class _Replicas:
  """What the replicas of a process have of their own, beside checkpoints.

  Args:
    lookahead: A Lookahead with local steps.
    strategy: The strategy of its variables.
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
    self.unfinished = f"{_UNFINISHED}-{self._process}"

  def names(self, start: str) -> list[str]:
    """Returns the names of the files of all processes, none of one replica.

    Args:
      start: The name of their checkpoint, or its path.
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
      _write(self._checkpoint, self.names(path)[self._process], self.unfinished)

  def read(self, path: str) -> None:
    """Reads the file of this process, or starts a period from the slow weights.

    Args:
      path: That of the checkpoint, which was read.
    """
    folder, name = os.path.split(path)
    found = {
      match[1]
      for match in _matches(folder, f"({re.escape(name)}{_REPLICAS}){_INDEX}")
    }
    if found == set(self.names(name)):
      if self._local:
        mine = self.names(path)[self._process]
        self._checkpoint.read(mine).assert_consumed()
      return
    warnings.warn(
      f"Checkpoint {path} was not saved by {self._count} replicas, each with "
      "weights of its own: training goes on from the slow weights, which all "
      "of them had.",
      stacklevel=3,
    )
    self._lookahead.finish_training()


def _write(checkpoint, path, unfinished):
  """Writes a checkpoint under another name, then moves it to `path`."""
  directory = os.path.dirname(path)
  start = os.path.join(directory, unfinished)
  checkpoint.write(start)
  for match in _matches(directory, f"{unfinished}({_DATA})"):
    _move(start + match[1], path + match[1])
  _move(f"{start}.index", f"{path}.index")


def exist(workdir: str) -> bool:
  """Whether a run has a checkpoint to go on from."""
  return bool(_paths(os.path.join(workdir, "checkpoints")))


def _paths(directory):
  """Returns the checkpoints with an index, in the order of their steps."""
  return _find(directory, _INDEX)


def _without_index(directory):
  """Returns what is left of checkpoints that have none."""
  whole = _paths(directory)
  return [p for p in _find(directory, _DATA) if p not in whole]


def _find(directory, suffix):
  found = {match[1] for match in _matches(directory, _NAME + suffix)}
  return sorted((os.path.join(directory, name) for name in found), key=_step)


def _step(path):
  return int(path.rpartition("-")[2])


def _move(source, target):
  tf.io.gfile.rename(source, target, overwrite=True)


def _remove_unfinished(directory, name):
  """Removes what TensorFlow leaves of a checkpoint that it could not write.

  Args:
    directory: Where it was to be.
    name: What it was called until then.
  """
  _remove(directory, name + _PARTIAL)
  temporary = os.path.join(directory, f"{name}_temp")
  if tf.io.gfile.isdir(temporary):
    tf.io.gfile.rmtree(temporary)


def _remove(directory, pattern):
  """Removes the files whose names are all of a regular expression."""
  for match in _matches(directory, pattern):
    tf.io.gfile.remove(os.path.join(directory, match[0]))


def _matches(directory, pattern):
  """Returns the names in a directory that are all of a regular expression.

  They are listed and compared: to `tf.io.gfile.glob` the directory's own name
  would be a part of the pattern, and find files of other runs.

  Args:
    directory: Where to look; one that is not there has none.
    pattern: A regular expression.

  Returns:
    A match for each of them.
  """
  try:
    names = tf.io.gfile.listdir(directory)
  except tf.errors.NotFoundError:
    return []
  # Those of directories in a bucket end in a slash.
  matches = [re.fullmatch(pattern, name.rstrip("/")) for name in names]
  return [match for match in matches if match]
