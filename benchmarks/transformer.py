"""The translation trainer's Transformer in sizes to choose, and its step."""

import dataclasses
from collections.abc import Callable
from typing import Any

import ml_collections
import numpy as np
import tensorflow as tf
from absl import flags

from configs import lookahead, translation
from trainers import devices
from trainers.translation import experiment, train


@dataclasses.dataclass(frozen=True)
class Size:
  """The size of a Transformer.

  Attributes:
    width: Width of the layers; those of feed-forward layers are four times it.
    layers: Layers of the encoder, and of the decoder.
    subwords: Size of the vocabulary.
    length: Tokens of a sentence.
  """

  width: int
  layers: int
  subwords: int
  length: int

  heads = 4

  def title(self) -> str:
    """Returns what tables and charts call the model."""
    return (
      f"Transformer, width {self.width}, {self.layers} + {self.layers} layers"
    )


def define_size_flags() -> Callable[[], Size]:
  """Defines flags for the size; returns a function that reads them."""
  defaults = {
    "width": (256, "Width of the Transformer's layers, a multiple of 4.", 4),
    "layers": (3, "Layers of its encoder, and of its decoder.", 1),
    "subwords": (8_000, "Size of its vocabulary.", 4),
    "length": (24, "Tokens of a sentence.", 1),
  }
  values = {
    name: flags.DEFINE_integer(name, value, text, lower_bound=least)
    for name, (value, text, least) in defaults.items()
  }
  flags.register_validator(
    "width", lambda width: width % Size.heads == 0, "must be a multiple of 4"
  )
  return lambda: Size(**{name: flag.value for name, flag in values.items()})


def make_config(size: Size) -> ml_collections.ConfigDict:
  """Returns an experiment of a model of this size."""
  config = translation.get_config()
  config.model.d_model = size.width
  config.model.d_ff = 4 * size.width
  config.model.num_heads = size.heads
  config.model.num_layers = size.layers
  config.vocabulary.size = size.subwords
  config.data.max_length = size.length
  config.global_batch_tokens = size.length
  return config


def make_step(
  size: Size, batch_size: int, uses_xla: bool, sync_period: int | None
) -> Callable[[], tf.Tensor]:
  """Returns a function that trains on one batch, always the same.

  The function returns the loss. The step is the trainer's: forward with
  dropout, backward, Adam. The batch has no padding: a row is one sentence.

  Args:
    size: Size of the model.
    batch_size: Sentences in a step.
    uses_xla: Whether XLA compiles the step; what is a graph otherwise has
      dropout and the loss compiled in bfloat16, as on a CPU without the
      config's `jit_compile`.
    sync_period: Lookahead's, or None for the inner optimizer alone.
  """
  config = make_config(size)
  config.global_batch_tokens = batch_size * size.length
  is_bfloat16 = devices.precision() == "bfloat16"
  config.jit_compile = None if is_bfloat16 and not uses_xla else uses_xla
  if sync_period is not None:
    lookahead.add_to(config, sync_period=sync_period, slow_step_size=0.5)
  strategy = tf.distribute.OneDeviceStrategy("CPU:0")
  unpacked = experiment.unpack(config, None, strategy)
  step, _ = train.make_step(unpacked, strategy)
  shape = (batch_size, size.length)
  random = np.random.default_rng(0)
  places = np.broadcast_to(np.arange(size.length, dtype="int32"), shape)
  batch = {}
  for side in ("source", "target"):
    batch[side] = tf.constant(random.integers(3, size.subwords, shape, "int32"))
    batch[f"{side}_segments"] = tf.ones(shape, tf.int32)
    batch[f"{side}_positions"] = tf.constant(places)
  return lambda: step(batch)["loss"]


def training_peer(size: Size, batch_size: int) -> dict[str, Any]:
  """Returns arguments that make PyTorch's "transformer" train the same."""
  config = make_config(size)
  return {
    "sizes": {
      "vocabulary_size": size.subwords,
      "length": size.length,
      "width": size.width,
      "heads": size.heads,
      "layers": size.layers,
      "inner_width": config.model.d_ff,
      "dropout": config.model.dropout,
    },
    "batch_size": batch_size,
    "label_smoothing": config.label_smoothing,
  }
