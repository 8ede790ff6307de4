"""Programs in processes of their own, which start at once.

Each is a fork of one process that has imported what takes seconds.
"""

import contextlib
import functools
import json
import multiprocessing
import os
import runpy
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing import forkserver
from unittest import mock

_ROOT = os.path.dirname(os.path.dirname(__file__))
_PRELOADED = (
  "tests.processes",
  "trainers.flags",
  "trainers.image_classification.train",
)


class Program:
  """A program in a process of its own.

  Args:
    module: Run as `python -m` does.
    arguments: Of the command line.
    environment: Variables to set.
  """

  def __init__(
    self, module: str, arguments: list[str], environment: dict[str, str]
  ):
    self._files = [  # They are closed, and so deleted, with this object.
      tempfile.NamedTemporaryFile()  # noqa: SIM115
      for _ in range(2)
    ]
    names = [file.name for file in self._files]
    self._process = _context().Process(
      target=_run, args=(module, arguments, environment, names)
    )
    self._process.start()

  def wait(self, timeout: float = 300) -> tuple[int, str]:
    """Returns the exit status, that of a signal being negative, and stderr.

    Args:
      timeout: In seconds; a process that takes longer is killed.
    """
    self._process.join(timeout)
    if self._process.exitcode is None:
      self._process.kill()
      self._process.join()
    return self._process.exitcode, self.stderr()

  @property
  def pid(self) -> int:
    """The number of the process."""
    return self._process.pid

  def wait_until(
    self, condition: Callable[[], bool], timeout: float = 300
  ) -> None:
    """Waits until a condition holds, while the process runs.

    Args:
      condition: Looked at again and again.
      timeout: In seconds.

    Raises:
      AssertionError: with what the process wrote to stderr, if it ended before
        or took longer.
    """
    end = time.monotonic() + timeout
    while not condition():
      if not self.is_running() or time.monotonic() > end:
        raise AssertionError(self.stderr())
      time.sleep(0.05)

  def is_running(self) -> bool:
    """Whether the process has not ended yet."""
    return self._process.is_alive()

  def stdout(self) -> str:
    """Returns what the process has written to stdout so far."""
    return self._read(0)

  def stderr(self) -> str:
    """Returns what the process has written to stderr so far."""
    return self._read(1)

  def _read(self, index):
    with open(self._files[index].name, errors="replace") as file:
      return file.read()

  def send_signal(self, number: int) -> None:
    """Sends a signal to the process, if it still runs."""
    if self.is_running():
      os.kill(self._process.pid, number)


def tf_configs(number: int) -> list[str]:
  """Returns TF_CONFIG for each of so many processes of a cluster here."""
  with contextlib.ExitStack() as stack:
    sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
    for one in sockets:
      one.bind(("localhost", 0))
    workers = [f"localhost:{one.getsockname()[1]}" for one in sockets]
  return [
    json.dumps(
      {
        "cluster": {"worker": workers},
        "task": {"type": "worker", "index": index},
      }
    )
    for index in range(number)
  ]


@functools.cache
def _context():
  # The process has no other thread then, which a fork would not take along.
  with mock.patch.dict(os.environ, OPENBLAS_NUM_THREADS="1", PYTHONPATH=_ROOT):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*_PRELOADED])
    forkserver.ensure_running()
  return context


def _run(module, arguments, environment, files):
  for number, path in enumerate(files, start=1):
    with open(path, "w") as file:
      os.dup2(file.fileno(), number)
  os.chdir(_ROOT)
  os.environ.update(environment)
  sys.argv = [module, *arguments]
  runpy.run_module(module, run_name="__main__", alter_sys=True)
