"""Starting from the weights of another run of this trainer."""

import keras
import numpy as np
import tensorflow as tf

from trainers import devices, initialization, optimizers
from trainers import workdir as workdir_lib
from trainers.checkpoints import Checkpoints
from trainers.errors import UserError
from trainers.image_classification import experiment as experiment_lib
from trainers.image_classification.experiment import Experiment
from trainers.image_classification.model import make_model


class Start:
  """The weights of the best evaluation of a run.

  Args:
    path: Directory of the run.
    strategy: The strategy to use now.

  Raises:
    UserError: if there is no such run, or no checkpoint in it.
  """

  def __init__(self, path: str, strategy: tf.distribute.Strategy):
    records = {
      name: workdir_lib.read(path, name)
      for name in ("config", "source", "runtime")
    }
    source = records["source"]
    if None in records.values() or "class_names" not in source:
      raise UserError(f"--init_from={path} holds no run of this trainer.")
    before = devices.precision()
    # The state of an optimizer is another with float16.
    devices.set_precision(records["runtime"]["precision"])
    experiment = experiment_lib.of_record(records["config"], source, strategy)
    with strategy.scope():
      model = make_model(experiment.architecture)
      experiment.optimizer.build(model.trainable_variables)
    checkpoints = Checkpoints(path, model, experiment.optimizer)
    best = checkpoints.best
    if not best:
      raise UserError(f"--init_from={path} has no checkpoint in best/ yet.")
    step = checkpoints.read(best)
    with optimizers.weights_to_evaluate(model, experiment.optimizer):
      values = [np.array(variable) for variable in model.weights]
    devices.set_precision(before)
    self._class_names = experiment.source.class_names
    self._weights = initialization.Weights(
      path, f"best, step {step}", values, _sizes(experiment)
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
  if architecture.name != "cnn":
    sizes["model.blocks_per_stage"] = architecture.blocks_per_stage
  return sizes
