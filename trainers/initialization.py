"""Weights to start from: those of another run, which --init_from names."""

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from trainers import checkpoints, devices
from trainers.devices import Runtime
from trainers.errors import UserError, first_line


@dataclasses.dataclass(frozen=True)
class Weights:
  """Weights of a run, to begin another with.

  Attributes:
    run: Directory of the run.
    which: Which weights these are, for people.
    values: In the order of the model's `weights`.
    sizes: Values of the config's fields that decide the shapes, by name.
  """

  run: str
  which: str
  values: Sequence[np.ndarray]
  sizes: Mapping[str, Any]

  @classmethod
  def of(cls, run: Runtime, loaded: Any, sizes: Mapping[str, Any]) -> "Weights":
    """Returns the weights of what `load_other` returned.

    Args:
      run: Of the new run.
      loaded: Has a `model`, and `weights`, which says which these are.
      sizes: As in `Weights`.
    """
    values = [np.array(variable) for variable in loaded.model.weights]
    return cls(run.init_from, loaded.weights, values, sizes)

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


def require_own(run: Runtime, is_own: bool) -> None:
  """Raises a UserError unless --init_from names a run of the new run's trainer.

  Args:
    run: Of the new run.
    is_own: Whether the directory has the records that this trainer writes.
  """
  if not is_own:
    raise UserError(
      f"--init_from={run.init_from} holds no run of this trainer."
    )


def load_other(run: Runtime, load: Callable[[Runtime, str], Any]) -> Any:
  """Returns the run that another one starts from, with its best weights.

  The precision stays that of the new run.

  Args:
    run: Of the new run.
    load: A trainer's `trained.load`.

  Raises:
    UserError: as `load` does.
  """
  before = devices.precision()
  try:
    return load(dataclasses.replace(run, workdir=run.init_from), "best")
  finally:
    devices.set_precision(before)


def make_prepare(
  start: Any, experiment: Any, run: Runtime
) -> Callable[[keras.Model], None]:
  """Returns a function that gives a new model the weights to start from.

  The function says in a sentence what it did. Without weights to start from it
  does nothing.

  Args:
    start: A `trained.Start` of the trainer, or None.
    experiment: The new run's.
    run: The new run.
  """

  def prepare(model):
    if start:
      sentence = start.assign(model, experiment)
      if run.is_chief:
        print(sentence)

  return prepare


def check(workdir: str, init_from: str | None) -> None:
  """Raises a UserError if a run cannot be started from `init_from`.

  A run that has a checkpoint goes on, also if the other run is gone.
  """
  if not init_from:
    return
  if os.path.realpath(init_from) == os.path.realpath(workdir):
    raise UserError(
      f"--init_from={init_from} is the --workdir itself. A run goes on for "
      "longer with more epochs or steps; a new run has a directory of its own."
    )
  if checkpoints.exist(workdir):
    return
  config = tf.io.gfile.join(init_from, "config.json")
  try:
    is_run = tf.io.gfile.exists(config)
  except tf.errors.OpError as error:
    raise UserError(
      f"--init_from={init_from} cannot be read: {first_line(error)}"
    ) from error
  if not is_run:
    raise UserError(
      f"--init_from={init_from} holds no run: there is no {config}. Give the "
      "--workdir of a run."
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
