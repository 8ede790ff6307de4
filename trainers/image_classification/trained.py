"""A run that was trained: its model with the weights of a checkpoint."""

import dataclasses

import keras
from absl import flags

from trainers import devices, trained
from trainers.checkpoints import Checkpoints
from trainers.image_classification import experiment as experiment_lib
from trainers.image_classification.experiment import Experiment

# --help lists the flags of the module that runs: those defined here are its.
flags.disclaim_key_flags()

PROGRAM = "trainers.image_classification"
WEIGHTS = ("best", "last")


@dataclasses.dataclass(frozen=True)
class Trained:
  """What there is to classify with.

  Attributes:
    model: With the weights of a checkpoint; as `model.make_model` returns it.
    experiment: That of the run. Its images cannot be read.
    weights: Which weights these are, for people.
  """

  model: keras.Model
  experiment: Experiment
  weights: str


def define_flags(values: flags.FlagValues, output: str) -> None:
  """Defines the flags of a program that uses a trained run.

  Args:
    values: Where to define them.
    output: What --help says of --output.
  """
  trained.define_flags(values, output)
  flags.DEFINE_enum(
    "weights",
    "best",
    WEIGHTS,
    "Those of the best evaluation, which best.keras has, or those of the last "
    "step, which model.keras has.",
    flag_values=values,
  )


def load(run: devices.Runtime, weights: str = "best") -> Trained:
  """Returns the model of the run in `run.workdir`.

  Args:
    run: Where the run is, and what to use now.
    weights: One of WEIGHTS.

  Raises:
    UserError: if there is no such run, or no checkpoint in it yet.
  """
  records = trained.read_records(
    run.workdir,
    PROGRAM,
    ("config", "source", "runtime"),
    is_own=lambda records: "class_names" in records["source"],
  )
  devices.set_precision(records["runtime"]["precision"])
  experiment = experiment_lib.of_record(
    records["config"], records["source"], run.strategy
  )
  model = experiment_lib.make_model_and_slots(experiment, run.strategy)
  checkpoints = Checkpoints(run.workdir, model, experiment.optimizer)
  chosen = trained.restore_weights(
    weights, checkpoints, model, experiment.optimizer, PROGRAM
  )
  total = experiment.plan.total_steps
  chosen += f" of {total}"
  if checkpoints.latest_step < total:
    chosen += ", and the run has not finished"
  return Trained(model, experiment, chosen)
