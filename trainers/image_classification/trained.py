"""A run that was trained: its model, and the start of another run from it."""

import dataclasses

import keras
from absl import flags

from trainers import devices, initialization, trained
from trainers import workdir as workdir_lib
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


class Start:
  """The weights of the best evaluation of a run.

  Args:
    run: Of the new run, which says where the other one is.

  Raises:
    UserError: if there is no such run, or no checkpoint in it.
  """

  def __init__(self, run: devices.Runtime):
    source = workdir_lib.read(run.init_from, "source")
    initialization.require_own(run, "class_names" in (source or {}))
    loaded = initialization.load_other(run, load)
    self._class_names = loaded.experiment.source.class_names
    self._weights = initialization.Weights.of(
      run, loaded, _sizes(loaded.experiment)
    )

  def assign(self, model: keras.Model, experiment: Experiment) -> str:
    """Gives a model the weights; returns what was done, in a sentence.

    The last layer is as it was made if the classes are others.

    Args:
      model: That of `experiment`; its optimizer is not built.
      experiment: The new run.

    Raises:
      UserError: if the models have different sizes.
    """
    start = self._weights
    sentence = f"Starting from {start.run} ({start.which})"
    now = experiment.source.class_names
    new, before = [], self._class_names
    if now != before:
      new = model.get_layer("logits").weights
      sentence += (
        f"; the last layer is new, for {len(now)} classes in place of "
        f"{len(before)}"
      )
      if len(now) == len(before):
        sentence += " others"
    start.assign(model, _sizes(experiment), new)
    return f"{sentence}."


def _sizes(experiment):
  """Returns what decides the shapes of all weights but the last layer's."""
  architecture = experiment.architecture
  sizes = {
    "model.name": architecture.name,
    "model.width": architecture.width,
    "the number of channels": experiment.source.channels,
  }
  if architecture.name not in ("cnn", "speedrun"):
    sizes["model.blocks_per_stage"] = architecture.blocks_per_stage
  return sizes
