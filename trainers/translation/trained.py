"""A run that was trained: its model, and the start of another run from it."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf
from absl import flags

from trainers import devices, initialization, trained
from trainers import workdir as workdir_lib
from trainers.checkpoints import Checkpoints
from trainers.errors import UserError
from trainers.translation import checks, vocabulary
from trainers.translation import experiment as experiment_lib
from trainers.translation.experiment import Experiment
from trainers.translation.model import Transformer
from trainers.translation.translator import Decoding

# --help lists the flags of the module that runs: those defined here are its.
flags.disclaim_key_flags()

PROGRAM = "trainers.translation"

_SIZES = ("d_model", "num_heads", "num_layers", "d_ff")


@dataclasses.dataclass(frozen=True)
class Trained:
  """What there is to translate with.

  Attributes:
    model: With the weights of a checkpoint.
    words: Its vocabulary.
    decoding: How the run's config translates, with the beam size that was asked
      for.
    jit_compile: Whether XLA compiles the search.
    weights: Which weights these are, for people.
  """

  model: Transformer
  words: vocabulary.Vocabulary
  decoding: Decoding
  jit_compile: bool
  weights: str


def define_flags(values: flags.FlagValues) -> None:
  """Defines the flags of a program that uses a trained run."""
  trained.define_flags(values, "Where to write.")
  flags.DEFINE_integer(
    "beam_size",
    None,
    "In place of that of the run's config; 1 is the greedy search.",
    lower_bound=1,
    flag_values=values,
  )
  flags.DEFINE_enum(
    "weights",
    None,
    checks.WEIGHTS,
    "Those of the best checkpoint, of the last, or the average of the last. By "
    "default final_weights of the run's config.",
    flag_values=values,
  )


def load(
  run: devices.Runtime,
  weights: str | None = None,
  beam_size: int | None = None,
) -> Trained:
  """Returns the model of the run in `run.workdir`.

  Args:
    run: Where the run is, and what to use now.
    weights: "best", "last" or "average", see `trainers.trained`; None for the
      config's `final_weights`.
    beam_size: In place of the config's; None for that.

  Raises:
    UserError: if there is no such run.
  """
  records = trained.read_records(
    run.workdir, PROGRAM, ("config", "vocabulary", "runtime")
  )
  # The state of an optimizer is another with float16.
  devices.set_precision(records["runtime"]["precision"])
  experiment = experiment_lib.of_record(records["config"], run.strategy)
  words = _load_vocabulary(run.workdir, records["vocabulary"])
  model = experiment_lib.make_model_and_slots(
    experiment, words.size, run.strategy
  )
  chosen = trained.restore_weights(
    weights or experiment.final_weights,
    Checkpoints(run.workdir, model, experiment.optimizer),
    model,
    experiment.optimizer,
    PROGRAM,
    experiment.average_checkpoints,
  )
  decoding = experiment.decoding
  if beam_size:
    decoding = dataclasses.replace(decoding, beam_size=beam_size)
  return Trained(model, words, decoding, experiment.jit_compile_search, chosen)


class Start:
  """The weights of the best evaluation of a run, and its vocabulary.

  Args:
    run: Of the new run, which says where the other one is.

  Raises:
    UserError: if there is no such run, or no checkpoint in it.
  """

  def __init__(self, run: devices.Runtime):
    record = workdir_lib.read(run.init_from, "vocabulary")
    initialization.require_own(run, record is not None)
    loaded = initialization.load_other(run, load)
    model = workdir_lib.read(run.init_from, "config")["model"]
    self.vocabulary = loaded.words.model  # A serialized SentencePiece model.
    self._weights = initialization.Weights.of(
      run, loaded, {f"model.{name}": model[name] for name in _SIZES}
    )

  def assign(self, model: keras.Model, experiment: Experiment) -> str:
    """Gives a model the weights; returns what was done, in a sentence.

    Args:
      model: That of `experiment`; its optimizer is not built.
      experiment: The new run.

    Raises:
      UserError: if the models have different sizes.
    """
    architecture = experiment.architecture
    self._weights.assign(
      model, {f"model.{name}": getattr(architecture, name) for name in _SIZES}
    )
    return (
      f"Starting from {self._weights.run} ({self._weights.which}), with its "
      "vocabulary."
    )


def inherit_vocabulary(
  run: devices.Runtime, start: Start | None
) -> vocabulary.Vocabulary:
  """Returns the vocabulary of a run that starts, or has started, from another.

  Args:
    run: The new run.
    start: What it starts from, or None if it goes on.

  Raises:
    UserError: if the vocabulary cannot be written, or is gone.
  """
  if start is None:
    record = workdir_lib.read(run.workdir, "vocabulary")
    return _load_vocabulary(run.workdir, record)
  words = vocabulary.Vocabulary(start.vocabulary)
  if run.is_chief:
    vocabulary.save(words, run.workdir, words.fingerprint)
  return words


def _load_vocabulary(
  workdir: str, record: Mapping[str, Any]
) -> vocabulary.Vocabulary:
  """Returns the vocabulary that a run was trained with.

  Args:
    workdir: Directory of the run.
    record: The run's vocabulary.json.

  Raises:
    UserError: if the vocabulary is not there.
  """
  for path in vocabulary.find_files(workdir):
    try:
      with tf.io.gfile.GFile(path, "rb") as file:
        words = vocabulary.Vocabulary(file.read())
    except tf.errors.OpError:
      continue  # It is damaged, and so another one.
    if words.describe() == record:
      return words
  raise UserError(
    f"{workdir}/vocabulary has no file with the vocabulary that this run was "
    f"trained with, whose SHA-256 is {record['fingerprint']}: put it back."
  )
