"""Weights to start from: those of another run, which --init_from names."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from trainers import checkpoints
from trainers.devices import Runtime
from trainers.errors import UserError


@dataclasses.dataclass(frozen=True)
class Weights:
  """Weights of a run, to begin another with.

  Attributes:
    run: Directory of the run.
    which: Which weights these are, for people.
    values: In the order of the model's `weights`.
    sizes: What decides their shapes, by the names of the config's fields.
  """

  run: str
  which: str
  values: Sequence[np.ndarray]
  sizes: Mapping[str, Any]

  def assign(
    self,
    model: keras.Model,
    sizes: Mapping[str, Any],
    new: Sequence[keras.Variable] = (),
  ) -> None:
    """Gives a model these weights.

    Args:
      model: Built; its optimizer is not, for a Lookahead copies weights then.
      sizes: As in `Weights`, of this model.
      new: Variables that keep their values.

    Raises:
      UserError: if the models have different sizes.
    """
    different = [
      f"{field} is {self.sizes[field]} there and {sizes[field]} here"
      for field in sizes
      if self.sizes[field] != sizes[field]
    ]
    if different:
      raise UserError(
        f"--init_from={self.run} has another model: {', '.join(different)}."
      )
    kept = {id(variable) for variable in new}
    for variable, value in zip(model.weights, self.values, strict=True):
      if id(variable) not in kept:
        variable.assign(value)


def check(workdir: str, init_from: str | None) -> None:
  """Raises a UserError if a run cannot be started from `init_from`."""
  if init_from and os.path.realpath(init_from) == os.path.realpath(workdir):
    raise UserError(
      f"--init_from={init_from} is the --workdir itself. A run goes on for "
      "longer with more epochs or steps; a new run has a directory of its own."
    )


def is_due(run: Runtime) -> bool:
  """Whether a run begins with the weights of another.

  A run that has a checkpoint goes on from that.
  """
  return bool(run.init_from) and not checkpoints.exist(run.workdir)


def record(
  records: Mapping[str, Mapping[str, Any]], run: Runtime
) -> dict[str, Mapping[str, Any]]:
  """Returns the records of a run with the run that it starts from, if any."""
  if not run.init_from:
    return dict(records)
  runtime = {**records["runtime"], "init_from": run.init_from}
  return {**records, "runtime": runtime}
