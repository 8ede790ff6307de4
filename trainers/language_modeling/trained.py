"""A run that was trained: its model with the weights of a checkpoint."""

import dataclasses

import tensorflow as tf
from absl import flags

from trainers import devices, trained
from trainers import workdir as workdir_lib
from trainers.checkpoints import Checkpoints
from trainers.errors import UserError
from trainers.language_modeling import experiment as experiment_lib
from trainers.language_modeling import train
from trainers.language_modeling.model import AwdLstm
from trainers.language_modeling.vocabulary import Vocabulary


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
  experiment: experiment_lib.Experiment
  weights: str


def define_flags(values: flags.FlagValues) -> None:
  """Defines the flags of a program that uses a trained run."""
  flags.DEFINE_enum(
    "weights",
    None,
    experiment_lib.WEIGHTS,
    "Those of the best checkpoint or of the last. By default final_weights of "
    "the run's config.",
    flag_values=values,
  )
  flags.register_validator(
    "workdir",
    lambda path: path is not None,
    "must name the directory of a run",
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
  records = {
    name: workdir_lib.read(run.workdir, name)
    for name in ("config", "vocabulary", "runtime")
  }
  is_of_this_trainer = "bptt" in (records["config"] or {})
  if None in records.values() or not is_of_this_trainer:
    raise UserError(
      f"--workdir={run.workdir} holds no run of this trainer: train there "
      "first, by python -m trainers.language_modeling."
    )
  # The state of an optimizer is another with float16.
  devices.set_precision(records["runtime"]["precision"])
  words = _load_words(run.workdir, records["vocabulary"])
  experiment = experiment_lib.of_record(records["config"], run.strategy)
  model = train.make_model_and_slots(experiment, words.size, run.strategy)
  checkpoints = Checkpoints(
    run.workdir,
    model,
    experiment.optimizer,
    state=train.Progress(experiment, run.strategy),
  )
  chosen = trained.restore_weights(
    weights or experiment.final_weights,
    checkpoints,
    model,
    experiment.optimizer,
    train.PROGRAM,
  )
  return Trained(model, words, experiment, chosen)


def _load_words(workdir, record):
  """Returns the vocabulary that the run was trained with."""
  path = tf.io.gfile.join(workdir, train.WORDS_FILE)
  try:
    with tf.io.gfile.GFile(path) as file:
      words = Vocabulary(file.read().split("\n")[:-1])
  except (tf.errors.OpError, UnicodeDecodeError, UserError):
    words = None
  if words is None or words.describe() != record:
    raise UserError(
      f"{path} is not the vocabulary that this run was trained with, whose "
      f"SHA-256 is {record['fingerprint']}: put it back."
    )
  return words
