"""A run that was trained: its model, and the start of another run from it."""

import dataclasses

import keras
from absl import flags

from trainers import devices, initialization, trained
from trainers.checkpoints import Checkpoints
from trainers.language_modeling import checks, vocabulary
from trainers.language_modeling import experiment as experiment_lib
from trainers.language_modeling.experiment import Experiment
from trainers.language_modeling.model import AwdLstm
from trainers.language_modeling.vocabulary import Vocabulary

# --help lists the flags of the module that runs: those defined here are its.
flags.disclaim_key_flags()

PROGRAM = "trainers.language_modeling"


@dataclasses.dataclass(frozen=True)
class Trained:
  """What a run leaves to use.

  Attributes:
    model: With the weights of a checkpoint.
    words: Its vocabulary.
    experiment: The run's, without its text.
    weights: Which weights these are, for people.
  """

  model: AwdLstm
  words: Vocabulary
  experiment: Experiment
  weights: str


def define_flags(values: flags.FlagValues) -> None:
  """Defines the flags of a program that uses a trained run."""
  trained.define_flags(values)
  flags.DEFINE_enum(
    "weights",
    None,
    checks.WEIGHTS,
    "Those of the best checkpoint or of the last. By default final_weights of "
    "the run's config.",
    flag_values=values,
  )


def load(run: devices.Runtime, weights: str | None = None) -> Trained:
  """Returns the model of the run in `run.workdir`.

  Args:
    run: Where the run is, and what to use now.
    weights: "best" or "last"; None for the config's `final_weights`.

  Raises:
    UserError: if there is no such run.
  """
  records = trained.read_records(
    run.workdir,
    PROGRAM,
    ("config", "vocabulary", "runtime"),
    is_own=lambda records: experiment_lib.is_own(records["config"]),
  )
  # The state of an optimizer is another with float16.
  devices.set_precision(records["runtime"]["precision"])
  words = vocabulary.load(run.workdir, records["vocabulary"])
  experiment = experiment_lib.of_record(records["config"], run.strategy)
  model = experiment_lib.make_model_and_slots(
    experiment, words.size, run.strategy
  )
  checkpoints = Checkpoints(
    run.workdir,
    model,
    experiment.optimizer,
    state=experiment_lib.make_progress(experiment, run.strategy),
  )
  chosen = trained.restore_weights(
    weights or experiment.final_weights,
    checkpoints,
    model,
    experiment.optimizer,
    PROGRAM,
  )
  return Trained(model, words, experiment, chosen)


class Start:
  """The weights of the best evaluation of a run.

  The vocabulary of that run is the new run's since `experiment.load`.

  Args:
    run: Of the new run, which says where the other one is.

  Raises:
    UserError: if there is no checkpoint in the other run.
  """

  def __init__(self, run: devices.Runtime):
    loaded = initialization.load_other(run, load)
    self._weights = initialization.Weights.of(
      run, loaded, _sizes(loaded.experiment)
    )

  def assign(self, model: keras.Model, experiment: Experiment) -> str:
    """Gives a model the weights; returns what was done, in a sentence.

    Args:
      model: That of `experiment`; its optimizer is not built.
      experiment: The new run.

    Raises:
      UserError: if the models have different sizes.
    """
    self._weights.assign(model, _sizes(experiment))
    return (
      f"Starting from {self._weights.run} ({self._weights.which}), with its "
      "vocabulary."
    )


def _sizes(experiment):
  """Returns what decides the shapes of the weights but for the vocabulary."""
  sizes = dataclasses.asdict(experiment.architecture)
  return {f"model.{name}": size for name, size in sizes.items()}
