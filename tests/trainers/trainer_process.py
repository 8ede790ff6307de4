"""Trainers in processes of their own, and the results of the image trainer.

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
from multiprocessing import forkserver
from unittest import mock

import keras
import numpy as np

from trainers import metrics

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
_PRELOADED = (
  "tests.trainers.trainer_process",
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
    self._stderr = tempfile.NamedTemporaryFile()  # noqa: SIM115
    self._process = _context().Process(
      target=_run, args=(module, arguments, environment, self._stderr.name)
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

  def is_running(self) -> bool:
    """Whether the process has not ended yet."""
    return self._process.is_alive()

  def stderr(self) -> str:
    """Returns what it has written to stderr so far."""
    with open(self._stderr.name, errors="replace") as file:
      return file.read()

  def send_signal(self, number: int) -> None:
    """Sends a signal to the process, if it still runs."""
    if self.is_running():
      os.kill(self._process.pid, number)


@functools.cache
def _context():
  # The process has no other thread then, which a fork would not take along.
  with mock.patch.dict(os.environ, OPENBLAS_NUM_THREADS="1", PYTHONPATH=_ROOT):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*_PRELOADED])
    forkserver.ensure_running()
  return context


def _run(module, arguments, environment, stderr):
  for path, number in ((os.devnull, 1), (stderr, 2)):
    with open(path, "w") as file:
      os.dup2(file.fileno(), number)
  os.chdir(_ROOT)
  os.environ.update(environment)
  sys.argv = [module, *arguments]
  runpy.run_module(module, run_name="__main__", alter_sys=True)


def start(workdir: str, *arguments: str, **environment: str) -> Program:
  """Starts a run of a small model on the digits.

  Args:
    workdir: Directory of the run.
    *arguments: Further ones of the command line.
    **environment: Further variables.
  """
  return start_program(
    "trainers.image_classification",
    "--config=configs/digits.py:lookahead",
    f"--workdir={workdir}",
    "--config.model.width=8",
    *arguments,
    **environment,
  )


def start_program(module: str, *arguments: str, **environment: str) -> Program:
  """As `start`, of any trainer with just these arguments."""
  return Program(module, [*arguments], environment)


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


def result(workdir: str) -> tuple[list[np.ndarray], list[dict[str, float]]]:
  """Returns the final variables, and the metrics without those of the clock."""
  model = keras.models.load_model(os.path.join(workdir, "model.keras"))
  lines = metrics.read(workdir)
  for line in lines:
    del line["examples_per_second"]
  return [np.array(v) for v in model.variables], lines
