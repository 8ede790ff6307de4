"""Trainers in processes of their own, watched by their metrics files."""

import contextlib
import dataclasses
import os
import pathlib
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence

from trainers import metrics
from trainers.errors import UserError

_INTERVAL = 0.05  # Seconds between two looks at the metrics.
_ROOT = pathlib.Path(__file__).parents[1]
_LINES_TOLD = 5


@dataclasses.dataclass(frozen=True)
class Process:
  """A process to start.

  Attributes:
    command: Its command line.
    core: The core of the CPU that the process has, and no other.
    environment: Variables to set beside those of this process.
  """

  command: Sequence[str]
  core: int
  environment: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Window:
  """What runs have done from one line of their metrics to a later one.

  Attributes:
    steps: Steps of each run.
    seconds: For each run how long it took.
  """

  steps: int
  seconds: list[float]


class Runs:
  """Runs of trainers at the same time, from `running`.

  The time of a step is that at which its line of metrics.jsonl is seen: so it
  has in it whatever the trainer does between two loops.

  Args:
    processes: Processes, all of which have to go on.
    logs: For each process the file with what it prints.
    workdirs: For each run its directory. Several processes may share a run.
  """

  def __init__(
    self,
    processes: Sequence[subprocess.Popen],
    logs: Sequence[pathlib.Path],
    workdirs: Sequence[str],
  ):
    self._processes, self._logs = processes, logs
    self._files = [pathlib.Path(w) / "metrics.jsonl" for w in workdirs]
    self._sizes = [0] * len(self._files)
    # For each run the time of each step that has a line.
    self._times = [{} for _ in self._files]

  def wait_for_step(self, step: int) -> None:
    """Waits until each run has made so many steps since it began.

    Raises:
      UserError: if a process ends before, with the end of what it printed.
    """
    self._wait(lambda: min(self._last_steps()) >= step)

  def wait_for_line(self) -> None:
    """Waits until each run has written another line of metrics.

    Raises:
      UserError: as for `wait_for_step`.
    """
    last = self._last_steps()
    self._wait(lambda: all(now > n for now, n in zip(self._last_steps(), last)))

  def measure(
    self,
    unit: int,
    least_units: int,
    least_seconds: float,
    on_steps: Callable[[int], None] = lambda steps: None,
  ) -> Window:
    """Returns the time of whole units, from the last line of metrics on.

    Call `wait_for_line` first, so that the last line is a new one.

    Args:
      unit: Steps, a multiple of those in a loop of the trainer.
      least_units: How many of them to wait for.
      least_seconds: Further units are waited for until that time is over.
      on_steps: Called with the number of steps so far, when it changes.

    Raises:
      UserError: as for `wait_for_step`.
    """
    first = self._last_steps()
    units, told = least_units, 0

    def has_ended():
      nonlocal units, told
      done = min(now - n for now, n in zip(self._last_steps(), first))
      if done > told:
        told = done
        on_steps(done)
      if done < units * unit:
        return False
      if min(self._seconds(first, units * unit)) < least_seconds:
        units += 1
      return done >= units * unit

    self._wait(has_ended)
    return Window(units * unit, self._seconds(first, units * unit))

  def _last_steps(self):
    return [max(times, default=0) for times in self._times]

  def _seconds(self, first, steps):
    """Returns how long each run took for so many steps from `first` on."""
    return [
      times[start + steps] - times[start]
      for times, start in zip(self._times, first)
    ]

  def _wait(self, condition):
    while True:
      self._look()
      if condition():
        return
      for process, log in zip(self._processes, self._logs):
        if process.poll() is not None:
          raise UserError(_describe_end(process, log))
      time.sleep(_INTERVAL)

  def _look(self):
    now = time.monotonic()
    for i, file in enumerate(self._files):
      size = file.stat().st_size if file.exists() else 0
      if size == self._sizes[i]:
        continue
      self._sizes[i] = size
      for line in metrics.read(str(file.parent)):
        self._times[i].setdefault(line["step"], now)


@contextlib.contextmanager
def running(
  processes: Sequence[Process], workdirs: Sequence[str], logs: str
) -> Iterator[Runs]:
  """Returns a context manager in which trainers run; they are killed after it.

  Args:
    processes: What to start. A Ctrl-C in the terminal does not reach them.
    workdirs: For each run its directory, which is new.
    logs: Folder for what the processes print.
  """
  with contextlib.ExitStack() as stack:
    started, paths = [], []
    for i, process in enumerate(processes):
      paths.append(pathlib.Path(logs) / f"{i}.txt")
      log = stack.enter_context(paths[-1].open("w"))
      started.append(_start(process, log))
      stack.callback(_kill, started[-1])
    yield Runs(started, paths, workdirs)


def _start(process, log):
  cores = os.sched_getaffinity(0)
  os.sched_setaffinity(0, {process.core})  # A new process inherits that.
  try:
    return subprocess.Popen(
      process.command,
      stdin=subprocess.DEVNULL,
      stdout=log,
      stderr=subprocess.STDOUT,
      cwd=_ROOT,
      env={**os.environ, **process.environment},
      # A group of the same session: what the session may use, they may.
      process_group=0,
    )
  finally:
    os.sched_setaffinity(0, cores)


def _kill(process):
  process.kill()
  process.wait()


def _describe_end(process, log):
  lines = log.read_text(errors="replace").strip().splitlines()
  command = subprocess.list2cmdline(process.args)
  return "\n".join(
    [
      f"A trainer ended with status {process.returncode} before it was "
      f"measured: {command}. It printed at its end:",
      *lines[-_LINES_TOLD:],
    ]
  )
