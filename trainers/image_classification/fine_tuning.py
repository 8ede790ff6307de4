"""Starting from the weights of another run of this trainer."""

import keras

from trainers import initialization
from trainers import workdir as workdir_lib
from trainers.devices import Runtime
from trainers.errors import UserError
from trainers.image_classification import trained
from trainers.image_classification.experiment import Experiment


class Start:
  """The weights of the best evaluation of a run.

  Args:
    run: Of the new run, which says where the other one is.

  Raises:
    UserError: if there is no such run, or no checkpoint in it.
  """

  def __init__(self, run: Runtime):
    source = workdir_lib.read(run.init_from, "source")
    if source is None or "class_names" not in source:
      raise UserError(
        f"--init_from={run.init_from} holds no run of this trainer."
      )
    loaded = initialization.load_other(run, trained.load)
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
