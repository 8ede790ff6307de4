"""What became of a trial: trained in this process, written and read again.

Beside what its trainer leaves there, the directory of a trial has log.txt, what
the trainer printed, and trial.json: how the trial ended, and its config.
"""

import contextlib
import dataclasses
import gc
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import keras
import tensorflow as tf

from experiments.trials import KINDS, Trial
from trainers import config_files, devices, errors, files, metrics, workdir

FINISHED = "finished"
DIVERGED = "diverged"  # The loss is not finite, say: a result too.
STOPPED = "stopped early"
FAILED = "failed"

_RECORD = "trial.json"
_NAMED = 3  # Of the trials that ended for one reason.


@dataclasses.dataclass(frozen=True)
class Outcome:
  """How a trial ended.

  Attributes:
    trial: The trial.
    workdir: Its directory.
    status: FINISHED, DIVERGED, STOPPED or FAILED.
    reason: A sentence on it; empty if FINISHED.
    lines: Of its metrics.jsonl.
  """

  trial: Trial
  workdir: str
  status: str
  reason: str
  lines: Sequence[Mapping[str, float]]

  @property
  def log(self) -> str:
    """The file with what the trainer printed."""
    return log_of(self.workdir)

  def final(self, column: str) -> float | None:
    """Returns the last value of a metric, such as "eval/accuracy".

    None if the trial is not FINISHED.
    """
    if self.status != FINISHED:
      return None
    return metrics.column(self.lines, column)[1][-1]


def finals(found: Iterable[Outcome], column: str) -> list[float]:
  """Returns the last value of a metric of each trial that is FINISHED."""
  values = [one.final(column) for one in found]
  return [value for value in values if value is not None]


def by_reason(
  found: Iterable[Outcome],
) -> dict[tuple[str, str], list[Outcome]]:
  """Returns the trials that are not FINISHED, by their status and reason."""
  groups = {}
  for one in found:
    if one.status != FINISHED:
      groups.setdefault((one.status, one.reason), []).append(one)
  return groups


def names(of: Sequence[Outcome]) -> str:
  """Returns the names of trials: of many the first, and how many more."""
  told = [one.trial.name for one in of[:_NAMED]]
  text = ", ".join(told)
  return f"{text} and {len(of) - _NAMED} more" if len(of) > _NAMED else text


@dataclasses.dataclass(frozen=True)
class Setup:
  """How a process trains its trials.

  Attributes:
    strategy: A strategy of one machine, as for `devices.make_strategy`.
    logical_cpus: Likewise.
    deterministic: Whether to use operations that give the same bits each time.
    data_dir: As for the trainer.
  """

  strategy: str = "auto"
  logical_cpus: int = 1
  deterministic: bool = False
  data_dir: str | None = None

  def make_strategy(self, threads: int) -> tf.distribute.Strategy:
    """Returns the strategy; call it once, before TensorFlow is used.

    Args:
      threads: How many of them an operation has, and how many operations run at
        a time.
    """
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    strategy = devices.make_strategy(self.strategy, self.logical_cpus)
    if self.deterministic:
      tf.config.experimental.enable_op_determinism()
    return strategy


def log_of(directory: str) -> str:
  """Returns the log file of a trial in `directory`."""
  return os.path.join(directory, "log.txt")


def train(
  trial: Trial,
  sweep: str,
  strategy: tf.distribute.Strategy,
  data_dir: str | None = None,
  on_evaluation: Callable[[Sequence[float]], None] = lambda scores: None,
) -> None:
  """Trains a trial in this process, and records how it ended.

  A trial that was interrupted goes on from its last checkpoint. Whatever is
  printed goes to the log file of the trial.

  Args:
    trial: What to train.
    sweep: Directory of the sweep.
    strategy: The one to train with.
    data_dir: As for the trainer.
    on_evaluation: Called after each evaluation, with the score of each so far,
      as they are in metrics.jsonl. A `StoppedEarly` that it raises stops the
      trial.

  Raises:
    Interrupted: after a SIGTERM, without a record: the trial is not over.
  """
  directory = trial.workdir(sweep)
  kind = KINDS[trial.kind]

  def report(epoch: float, values: Mapping[str, float]) -> None:
    del epoch, values
    on_evaluation(metrics.column(metrics.read(directory), kind.score.column)[1])

  run = devices.Runtime(strategy, directory, data_dir, on_evaluation=report)
  record = os.path.join(directory, _RECORD)
  if os.path.exists(record):  # Of an end that is none any more.
    os.remove(record)
  status, reason = FINISHED, ""
  with _output_in(directory):
    try:
      with config_files.explaining_missing_fields():
        kind.trainer.train(kind.trainer.load(trial.config, run), run)
    except errors.Interrupted as stop:
      print(stop)
      raise
    except StoppedEarly as stop:
      status, reason = STOPPED, str(stop)
    except errors.Diverged as error:
      status, reason = DIVERGED, str(error)
    except errors.UserError as error:
      status, reason = FAILED, str(error)
    except Exception as error:
      traceback.print_exc()
      status = FAILED
      reason = f"{type(error).__name__}: {errors.first_line(error)}"
    if reason:
      print(f"{status}: {reason}")
  write(trial, sweep, status, reason)
  # Neither names of layers nor memory are those of the trials before.
  keras.utils.clear_session()
  gc.collect()


class StoppedEarly(Exception):
  """The rule of early stopping stopped a trial; the message says why."""


def write(trial: Trial, sweep: str, status: str, reason: str = "") -> None:
  """Writes how a trial ended to its directory.

  Raises:
    UserError: if it cannot be written.
  """
  directory = trial.workdir(sweep)
  path = os.path.join(directory, _RECORD)
  content = {"status": status, "reason": reason, "config": _plain(trial)}
  with files.writing(path):
    os.makedirs(directory, exist_ok=True)
    files.write_whole(path, json.dumps(content, indent=2) + "\n")


def read(trial: Trial, sweep: str) -> Outcome | None:
  """Returns how a trial ended; None if that config has not come to its end.

  Raises:
    UserError: if a file of it cannot be read, and if another run has its
      directory.
  """
  directory = trial.workdir(sweep)
  workdir.check(directory, config=_plain(trial))
  found = workdir.read(directory, _RECORD.removesuffix(".json"))
  if found is None or found["config"] != _plain(trial):
    return None
  lines = []
  if os.path.exists(os.path.join(directory, "metrics.jsonl")):
    lines = metrics.read(directory)
  return Outcome(trial, directory, found["status"], found["reason"], lines)


def _plain(trial):
  """Returns the config of a trial as JSON gives it back."""
  return json.loads(json.dumps(trial.config.to_dict()))


@contextlib.contextmanager
def _output_in(directory: str) -> Iterator[None]:
  """Returns a context manager that appends all output to a log file.

  Output of TensorFlow, which goes past Python, goes there too.
  """
  os.makedirs(directory, exist_ok=True)
  with contextlib.ExitStack() as stack:
    log = stack.enter_context(open(log_of(directory), "a", buffering=1))
    sys.stdout.flush()
    sys.stderr.flush()
    for number in (1, 2):
      before = os.dup(number)
      stack.callback(os.close, before)
      stack.callback(os.dup2, before, number)
      os.dup2(log.fileno(), number)
    stack.enter_context(contextlib.redirect_stdout(log))
    stack.enter_context(contextlib.redirect_stderr(log))
    yield
