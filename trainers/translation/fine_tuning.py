"""Starting from the weights and the vocabulary of another run."""

import keras

from trainers import initialization
from trainers import workdir as workdir_lib
from trainers.devices import Runtime
from trainers.errors import UserError
from trainers.translation import trained, vocabulary
from trainers.translation.experiment import Experiment

_SIZES = ("d_model", "num_heads", "num_layers", "d_ff")


class Start:
  """The weights of the best evaluation of a run, and its vocabulary.

  Args:
    run: Of the new run, which says where the other one is.

  Raises:
    UserError: if there is no such run, or no checkpoint in it.
  """

  def __init__(self, run: Runtime):
    if workdir_lib.read(run.init_from, "vocabulary") is None:
      raise UserError(
        f"--init_from={run.init_from} holds no run of this trainer."
      )
    loaded = initialization.load_other(run, trained.load)
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


def load_vocabulary(run: Runtime, start: Start | None) -> vocabulary.Vocabulary:
  """Returns the vocabulary of a run that starts, or has started, from another.

  Args:
    run: The new run.
    start: What it starts from, or None if it goes on.

  Raises:
    UserError: if the vocabulary cannot be written, or is gone.
  """
  if start is None:
    record = workdir_lib.read(run.workdir, "vocabulary")
    return trained.load_vocabulary(run.workdir, record)
  words = vocabulary.Vocabulary(start.vocabulary)
  if run.is_chief:
    vocabulary.save(words, run.workdir, words.fingerprint)
  return words
