"""Trials in processes of this machine, as many at a time as fit.

A process trains one trial after another, so that all of its trials share the
import of TensorFlow and what TensorFlow has set up. A process that ends in the
midst of a trial, as for want of memory, fails that trial alone.
"""

import contextlib
import dataclasses
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing import connection

import tensorflow as tf
import tqdm

from experiments import outcomes, stopping
from experiments.outcomes import Outcome, Setup
from experiments.progress import Progress
from experiments.trials import Trial, check_data
from trainers import errors, hardware, signals

_POLL = 0.2  # Seconds until a signal is noticed.
# tqdm reads them: the bar of a trainer has few lines in a log file.
_QUIET = {"TQDM_MININTERVAL": "1e9", "TQDM_MAXINTERVAL": "1e9"}


def run(
  trials: Sequence[Trial],
  sweep: str,
  *,
  processes: int | None = None,
  setup: Setup | None = None,
  rule: str = stopping.NONE,
) -> list[Outcome]:
  """Trains the trials that are not over yet; returns how all of them ended.

  Args:
    trials: From `trials.make`.
    sweep: Directory of the sweep. The same trials there go on where they
      stopped.
    processes: How many trials at a time: by default one for each GPU, or for
      each processor where there is no GPU.
    setup: How each process trains.
    rule: Of early stopping, one of `stopping.RULES`.

  Returns:
    An outcome for each trial, in their order.

  Raises:
    Interrupted: after a SIGTERM, when the trials under way have a checkpoint.
    KeyboardInterrupt: after a Ctrl-C, likewise.
    UserError: if the directory of a trial holds another run, or if no trial
      finds its data.
  """
  over, waiting = stopping.split(trials, sweep, rule)
  if waiting:
    setup = setup or Setup()
    check_data(waiting, setup.data_dir)
    judge = stopping.Judge(rule, trials[0].kind, over.values())
    most = processes or len(_gpus()) or hardware.count_cores()
    with Progress(trials, over.values()) as progress:
      size = min(most, len(waiting))
      pool = _Pool(size, sweep, setup, judge, progress)
      over |= pool.run(waiting, len(over))
  return [over[trial.name] for trial in trials]


@dataclasses.dataclass
class _Worker:
  """A process, the connection to it, and the trial that it trains."""

  process: multiprocessing.process.BaseProcess
  connection: connection.Connection
  trial: Trial | None = None


class _Pool:
  """Processes that train trials.

  Args:
    size: How many.
    sweep: Directory of the sweep.
    setup: How each process trains.
    judge: Says which trials to stop early.
    progress: Told what happens.
  """

  def __init__(self, size, sweep, setup, judge, progress):
    self._size, self._sweep, self._setup = size, sweep, setup
    self._judge, self._progress = judge, progress
    self._workers: list[_Worker | None] = [None] * size
    self._over: dict[str, Outcome] = {}

  def run(self, trials: Sequence[Trial], before: int) -> dict[str, Outcome]:
    """Trains all; returns their outcomes by name.

    Args:
      trials: To be trained.
      before: How many others were over before.
    """
    waiting = [*trials][::-1]
    try:
      with signals.Watch(self._progress.tell) as watch:
        while len(self._over) < len(trials):
          for place in range(self._size):
            if waiting and self._is_idle(place):
              self._give(place, waiting.pop())
          self._listen()
          if watch.number:
            self._stop(watch.number, before, len(trials))
    finally:
      self._end()
    return self._over

  def _is_idle(self, place):
    worker = self._workers[place]
    return worker is None or worker.trial is None

  def _give(self, place, trial):
    """Has the process of a place train a trial; starts one if need be."""
    if self._workers[place] is None:
      self._workers[place] = self._start(place)
    worker = self._workers[place]
    worker.trial = trial
    with contextlib.suppress(BrokenPipeError):  # `_listen` finds its end.
      worker.connection.send(trial)
    self._progress.started(trial)

  def _start(self, place):
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    environment = dict(_QUIET)
    if gpus := _gpus():
      own = gpus[place :: self._size] or [gpus[place % len(gpus)]]
      environment["CUDA_VISIBLE_DEVICES"] = ",".join(own)
    threads = max(1, hardware.count_cores() // self._size)
    process = context.Process(
      target=_work, args=(there, self._sweep, self._setup, threads), daemon=True
    )
    with _environment(environment), without_ctrl_c():
      process.start()
    there.close()
    return _Worker(process, here)

  def _listen(self):
    """Waits a moment for messages of the processes, and heeds them."""
    workers = [worker for worker in self._workers if worker]
    ready = connection.wait([w.connection for w in workers], _POLL)
    for worker in workers:
      if worker.connection in ready:
        try:
          message = worker.connection.recv()
        except (EOFError, ConnectionResetError):
          self._bury(worker)
        else:
          self._heed(worker, message)

  def _heed(self, worker, message):
    if message is None:  # The trial is over.
      trial, worker.trial = worker.trial, None
      self._finish(trial)
      return
    reason = self._judge.reason_to_stop(worker.trial, message)
    with contextlib.suppress(BrokenPipeError):
      worker.connection.send(reason)

  def _finish(self, trial):
    outcome = outcomes.read(trial, self._sweep)
    self._over[trial.name] = outcome
    self._judge.finished(outcome)
    self._progress.finished(outcome)

  def _bury(self, worker):
    """Fails the trial of a process that has ended; another takes its place."""
    worker.process.join()
    self._workers[self._workers.index(worker)] = None
    if worker.trial is not None:
      status = worker.process.exitcode
      how = f"with exit status {status}"
      if status < 0:
        how = f"by signal {signal.Signals(-status).name}"
        if status == -signal.SIGKILL:
          how += ", as where memory runs out"
      outcomes.write(
        worker.trial,
        self._sweep,
        outcomes.FAILED,
        f"Its process ended {how}.",
      )
      self._finish(worker.trial)

  def _stop(self, number, before, count):
    """Has the trials under way save a checkpoint, and raises what ends all."""
    for worker in filter(None, self._workers):
      worker.process.terminate()
      # Nobody answers any more: whoever asks is not to wait for that.
      worker.connection.close()
    for worker in filter(None, self._workers):
      worker.process.join()
    raise errors.stopped_by(
      number,
      f"Stopped by {signals.NAMES[number]} with {before + len(self._over)} of "
      f"{before + count} trials over: run the same command again to go on.",
    )

  def _end(self):
    for worker in filter(None, self._workers):
      worker.process.kill()  # It waits for a trial, or nobody waits for it.
      worker.process.join()


def _work(link, sweep, setup, threads):
  """Trains the trials that come, in a process of its own."""
  threading.Thread(target=end_with_parent, daemon=True).start()
  # tqdm's own is a semaphore, which would be left behind where this process is
  # killed.
  tqdm.tqdm.set_lock(threading.RLock())
  try:
    strategy = setup.make_strategy(threads)
  except errors.UserError as error:
    sys.exit(f"Error: {error}")

  def ask(scores: Sequence[float]) -> None:
    with contextlib.suppress(BrokenPipeError, EOFError, ConnectionResetError):
      link.send([*scores])
      if reason := link.recv():
        raise outcomes.StoppedEarly(reason)

  with contextlib.suppress(
    BrokenPipeError, EOFError, ConnectionResetError, errors.Interrupted
  ):
    while True:
      outcomes.train(link.recv(), sweep, strategy, setup.data_dir, ask)
      link.send(None)
  os._exit(0)  # All is written, and TensorFlow takes its time to end.


def end_with_parent():
  """Ends this process as soon as its parent has ended, however that was."""
  multiprocessing.parent_process().join()
  os._exit(1)


def _gpus():
  """Returns what CUDA calls the GPUs that this process sees."""
  count = len(tf.config.list_physical_devices("GPU"))
  seen = os.environ.get("CUDA_VISIBLE_DEVICES")
  return seen.split(",")[:count] if seen else [str(i) for i in range(count)]


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
  """Returns a context manager in which variables have values."""
  before = {name: os.environ.get(name) for name in values}
  os.environ.update(values)
  try:
    yield
  finally:
    for name, value in before.items():
      if value is None:
        del os.environ[name]
      else:
        os.environ[name] = value


@contextlib.contextmanager
def without_ctrl_c() -> Iterator[None]:
  """Returns a context manager whose new processes never see a Ctrl-C.

  A terminal sends Ctrl-C to all processes. The parent decides what is to stop,
  and sends SIGTERM.
  """
  before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
  try:
    yield
  finally:
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
