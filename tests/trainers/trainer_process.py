"""The image trainer on the digits in a process of its own, and its results."""

import os
import subprocess
import sys

import keras
import numpy as np

from trainers import metrics

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))


def start(
  workdir: str, *arguments: str, **environment: str
) -> subprocess.Popen:
  """Starts a run of a small model; returns the process, with its stderr.

  Args:
    workdir: Directory of the run.
    *arguments: Further ones of the command line.
    **environment: Further variables.
  """
  command = [
    sys.executable,
    "-m",
    "trainers.image_classification",
    "--config=configs/digits_cnn_lookahead.py",
    f"--workdir={workdir}",
    "--config.model.width=8",
    *arguments,
  ]
  return subprocess.Popen(
    command,
    cwd=_ROOT,
    env={**os.environ, "PYTHONPATH": _ROOT, **environment},
    stdout=subprocess.DEVNULL,
    stderr=subprocess.PIPE,
    text=True,
  )


def result(workdir: str) -> tuple[list[np.ndarray], list[dict[str, float]]]:
  """Returns the final variables, and the metrics without those of the clock."""
  model = keras.models.load_model(os.path.join(workdir, "model.keras"))
  lines = metrics.read(workdir)
  for line in lines:
    del line["examples_per_second"]
  return [np.array(v) for v in model.variables], lines
