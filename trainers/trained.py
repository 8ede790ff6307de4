"""What is there after training, of any task: records, weights, saved models."""

import functools
import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import flags

from trainers import files, optimizers
from trainers import flags as flags_lib
from trainers import workdir as workdir_lib
from trainers.checkpoints import Checkpoints
from trainers.errors import UserError

# --help lists the flags of the module that runs: those defined here are its.
flags.disclaim_key_flags()


def define_flags(values: flags.FlagValues, output: str | None = None) -> None:
  """Defines --output, and requires the --workdir of a run.

  Args:
    values: Where to define them.
    output: What --help says of --output; None for a program without.
  """
  if output:
    flags_lib.define_path("output", output, values)
  flags.register_validator(
    "workdir",
    lambda path: path is not None,
    "must name the directory of a run",
    flag_values=values,
  )


def check_output(output: str | None) -> str:
  """Returns the path to write to, without a slash at its end.

  Raises:
    UserError: if none was given, or if the name beside it is taken under which
      it is written at first.
  """
  if not output:
    raise UserError("--output must say where to write.")
  path = output.rstrip("/")
  if tf.io.gfile.exists(f"{path}.tmp"):
    raise UserError(
      f"--output={path} is written as {path}.tmp at first, which is there "
      "already: remove that if a program that was killed has left it, or give "
      "another --output."
    )
  return path


def check_output_file(output: str | None, inputs: Sequence[str] = ()) -> str:
  """Returns the path of a file to write, which may be there already.

  Args:
    output: The path.
    inputs: Paths of what is read, which must not be overwritten.

  Raises:
    UserError: as `check_output` does, if no file can be at that path, and if it
      is one of the inputs.
  """
  path = check_output(output)
  if os.path.realpath(path) in {os.path.realpath(one) for one in inputs}:
    raise UserError(
      f"--output={path} is what --input reads, and would be overwritten: give "
      "another --output."
    )
  directory = os.path.dirname(path) or "."
  if tf.io.gfile.isdir(path) or not tf.io.gfile.isdir(directory):
    raise UserError(
      f"--output={path} must be a file in a directory that is there."
    )
  return path


def read_records(
  workdir: str,
  program: str,
  names: Sequence[str],
  is_own: Callable[[Mapping[str, Any]], bool] = lambda records: True,
) -> dict[str, dict[str, Any]]:
  """Returns records of the run in a workdir, by name.

  Args:
    workdir: Directory of the run.
    program: The program that trains such runs, as it follows `python -m`.
    names: Of the records, such as "config".
    is_own: Whether these records, none of which is None, are of this trainer.

  Raises:
    UserError: if there is no run, or one of another trainer.
  """
  records = {name: workdir_lib.read(workdir, name) for name in names}
  if None not in records.values() and is_own(records):
    return records
  if workdir_lib.read(workdir, "config") is not None:
    raise UserError(
      f"--workdir={workdir} holds a run of another trainer: give the directory "
      f"of a run of python -m {program}."
    )
  raise UserError(
    f"--workdir={workdir} holds no run: train there first, by "
    f"python -m {program}."
  )


def restore_weights(
  which: str,
  checkpoints: Checkpoints,
  model: keras.Model,
  optimizer: keras.optimizers.Optimizer,
  program: str,
  count: int = 1,
) -> str:
  """Puts weights of earlier steps into `model`: the slow ones of a Lookahead.

  The optimizer is then of no use: its state is that of a checkpoint.

  Args:
    which: "best" for those with the best evaluation, "last", or "average" for
      the mean of the last `count` checkpoints.
    checkpoints: Of this model and optimizer.
    model: Built.
    optimizer: Built.
    program: As for `read_records`.
    count: How many to average.

  Returns:
    What it was, for people: "best, step 300".

  Raises:
    UserError: if there is no such checkpoint, or too few of them.
  """
  if which == "average" and count < 2:
    raise UserError(
      f"average_checkpoints={count} of this run's config makes no average: "
      "take the best or the last weights."
    )
  if which == "best":
    paths = [checkpoints.best] if checkpoints.best else []
  else:
    paths = checkpoints.paths[-(count if which == "average" else 1) :]
  if not paths:
    last = ", or take --weights=last" if checkpoints.paths else ""
    raise UserError(
      f"There is no {which} checkpoint in {checkpoints.workdir} yet: train "
      f"there for longer, by python -m {program}{last}."
    )
  if which == "average" and len(paths) < count:
    raise UserError(
      f"average_checkpoints={count}, but {checkpoints.workdir} has "
      f"{len(paths)}: train for longer, or set checkpoint_every_steps lower."
    )
  variables = model.trainable_variables
  sums = [np.zeros(v.shape) for v in variables]
  steps = []
  for path in paths:
    steps.append(str(checkpoints.read(path)))
    with optimizers.weights_to_evaluate(model, optimizer):
      for total, variable in zip(sums, variables):
        total += np.array(variable)
  for total, variable in zip(sums, variables):
    variable.assign(total / len(paths))
  return f"{which}, step {', '.join(steps)}"


def check_new_directory(output: str | None) -> str:
  """Returns the path of a saved model to write, which must not be there.

  Raises:
    UserError: as `check_output` does, and if the path is taken or cannot be
      that of a saved model.
  """
  path = check_output(output)
  files.check_no_pattern(output=path)
  if tf.io.gfile.exists(path):
    raise UserError(f"--output={path} is there already: give a new directory.")
  return path


def save_module(
  module: tf.Module, signatures: Mapping[str, Callable], output: str
) -> None:
  """Writes a saved model, whole or not at all.

  Args:
    module: What holds the variables.
    signatures: TensorFlow functions by the names of their signatures.
    output: From `check_new_directory`.

  Raises:
    UserError: if it cannot be written.
  """
  partial = f"{output}.tmp"
  with files.writing(
    output, on_error=lambda: tf.io.gfile.rmtree(partial), resumes=False
  ):
    tf.saved_model.save(module, partial, signatures=signatures)
    tf.io.gfile.rename(partial, output)


def save_keras_model(model: keras.Model, path: str) -> None:
  """Writes a Keras file, whole or not at all.

  Raises:
    UserError: if it cannot be written.
  """
  partial = f"{path.removesuffix('.keras')}.partial.keras"
  with files.writing(
    path, on_error=functools.partial(tf.io.gfile.remove, partial)
  ):
    model.save(partial)
    tf.io.gfile.rename(partial, path, overwrite=True)


def save_results(results: Mapping[str, Any], workdir: str) -> None:
  """Writes results.json, the scores of a run's final weights.

  Args:
    results: JSON-like.
    workdir: Directory of the run.

  Raises:
    UserError: if the file cannot be written.
  """
  path = os.path.join(workdir, "results.json")
  with files.writing(path):
    files.write_whole(path, json.dumps(results, indent=2) + "\n")
