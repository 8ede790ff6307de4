"""The Transformer that both translation benchmarks time, sized by flags."""

import ml_collections
from absl import flags

from configs import translation

_WIDTH = flags.DEFINE_integer("width", 256, "Of the layers.")
_LAYERS = flags.DEFINE_integer("layers", 3, "Of encoder and decoder each.")
_SUBWORDS = flags.DEFINE_integer("subwords", 8_000, "Size of the vocabulary.")


def make_config() -> ml_collections.ConfigDict:
  """Returns a translation config whose `model` and vocabulary have its size."""
  config = translation.get_config()
  config.model.d_model = _WIDTH.value
  config.model.d_ff = 4 * _WIDTH.value
  config.model.num_heads = 4
  config.model.num_layers = _LAYERS.value
  config.vocabulary.size = _SUBWORDS.value
  return config


def title() -> str:
  """Returns what tables and figures call it."""
  return f"Transformer, width {_WIDTH.value}, {_LAYERS.value} + {_LAYERS.value}"
