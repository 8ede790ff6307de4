"""Starting from the weights and the vocabulary of another run."""

import dataclasses

import keras

from trainers import initialization
from trainers.devices import Runtime
from trainers.language_modeling import trained
from trainers.language_modeling.experiment import Experiment


class Start:
  """The weights of the best evaluation of a run.

  The vocabulary of that run is the new run's since `experiment.load`.

  Args:
    run: Of the new run, which says where the other one is.

  Raises:
    UserError: if there is no checkpoint in the other run.
  """

  def __init__(self, run: Runtime):
    loaded = initialization.load_other(run, trained.load)
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
