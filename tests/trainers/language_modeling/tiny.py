"""A tiny AWD-LSTM, whose weights are random, that tests share."""

import keras
import numpy as np
import tensorflow as tf

from trainers.language_modeling.model import Architecture, AwdLstm, make_model
from trainers.language_modeling.regularization import Masks, Rates

VOCABULARY_SIZE = 13
ARCHITECTURE = Architecture(embedding_size=4, hidden_size=6, num_layers=3)
RATES = Rates(words=0.2, inputs=0.3, hidden=0.4, outputs=0.25, weights=0.5)


def model(seed: int = 0, scale: float = 0.7) -> AwdLstm:
  """Returns a model with weights that are normally distributed.

  Args:
    seed: Of its weights.
    scale: Their standard deviation.
  """
  keras.utils.set_random_seed(seed)
  made = make_model(ARCHITECTURE, VOCABULARY_SIZE)
  random = np.random.default_rng(seed)
  for variable in made.trainable_variables:
    variable.assign(scale * random.normal(size=variable.shape))
  return made


def tokens(rows: int, steps: int, seed: int = 0) -> np.ndarray:
  """Returns random words, int32 (rows, steps)."""
  random = np.random.default_rng(seed)
  return random.integers(0, VOCABULARY_SIZE, (rows, steps)).astype("int32")


def masks_by_name(masks: Masks, rows: int) -> dict[str, tf.Tensor]:
  """Returns the masks of a step as the NumPy model takes them."""
  size, hidden = ARCHITECTURE.embedding_size, ARCHITECTURE.hidden_size
  made = {
    "words": masks.words(VOCABULARY_SIZE),
    "inputs": masks.inputs(rows, size)[0],
    "outputs": masks.outputs(rows, size)[0],
  }
  for i, width in enumerate(ARCHITECTURE.widths()):
    made[f"weights{i}"] = masks.weights(i, (width, 4 * width))
    if width == hidden:
      made[f"hidden{i}"] = masks.hidden(i, rows, hidden)[0]
  return made
