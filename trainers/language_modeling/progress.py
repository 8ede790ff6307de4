"""What a checkpoint of a language model holds beside weights and step."""

import tensorflow as tf

from trainers import optimizers
from trainers.language_modeling.carried_state import CarriedState
from trainers.language_modeling.experiment import Experiment


class Progress(tf.Module):
  """What a run that goes on needs beside model, optimizer and step.

  Args:
    experiment: What is trained.
    strategy: The strategy to train with.

  Attributes:
    carried: The state of the LSTM behind the last segment.
    factors: Of the learning rate.
  """

  def __init__(self, experiment: Experiment, strategy: tf.distribute.Strategy):
    super().__init__()
    self.carried = CarriedState(
      experiment.architecture.widths(),
      experiment.columns,
      strategy,
      is_local=optimizers.is_local(experiment.optimizer),
    )
    self.factors = experiment.factors
