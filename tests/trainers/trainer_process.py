"""Trainers in processes of their own, and the results of the image trainer."""

import os

import keras
import numpy as np

from tests.processes import Program
from trainers import metrics


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


def result(workdir: str) -> tuple[list[np.ndarray], list[dict[str, float]]]:
  """Returns the final variables, and the metrics without those of the clock."""
  model = keras.models.load_model(os.path.join(workdir, "model.keras"))
  lines = metrics.read(workdir)
  for line in lines:
    del line["examples_per_second"]
  return [np.array(v) for v in model.variables], lines
