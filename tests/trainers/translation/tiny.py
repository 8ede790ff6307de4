"""A tiny Transformer with weights that all matter, and sentences for it."""

import keras
import numpy as np

from trainers.translation.layers import Architecture
from trainers.translation.model import Transformer, make_model

VOCABULARY_SIZE = 11


def architecture(**fields) -> Architecture:
  """Returns tiny sizes, without dropout."""
  return Architecture(
    **{"d_model": 8, "num_heads": 2, "num_layers": 2, "d_ff": 16, **fields}
  )


def model(scale: float = 1.0, seed: int = 0, **fields) -> Transformer:
  """Returns a model whose biases, offsets and scales are random too.

  Args:
    scale: Of its embeddings, and so of its logits.
    seed: Of its weights.
    **fields: Those of `architecture`.
  """
  keras.utils.set_random_seed(seed)
  made = make_model(architecture(**fields), VOCABULARY_SIZE)
  random = np.random.default_rng(seed)
  for variable in made.trainable_variables:
    value = 0.4 * random.normal(size=variable.shape)
    if variable.path.endswith("matrix"):
      value *= scale
    if variable.path.endswith("gamma"):
      value += 1
    variable.assign(value)
  return made


def rows(*packed: list[tuple[list[int], list[int]]], length: int = 12):
  """Returns a batch of rows, each of some pairs of sentences.

  Args:
    *packed: The pairs (source, target) of each row.
    length: Of the rows.
  """
  batch = {
    f"{language}{suffix}": np.zeros((len(packed), length), "int32")
    for language in ("source", "target")
    for suffix in ("", "_segments", "_positions")
  }
  for row, pairs in enumerate(packed):
    for which, language in enumerate(("source", "target")):
      start = 0
      for segment, pair in enumerate(pairs):
        sentence = pair[which]
        place = (row, slice(start, start + len(sentence)))
        batch[language][place] = sentence
        batch[f"{language}_segments"][place] = segment + 1
        batch[f"{language}_positions"][place] = np.arange(len(sentence))
        start += len(sentence)
  return batch
