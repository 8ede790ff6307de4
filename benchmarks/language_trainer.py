"""What the benchmarks use of the language modeling trainer: its step.

No other file of benchmarks/ imports `trainers.language_modeling` or one of its
configs.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from absl import flags

from configs import language_modeling, lookahead
from trainers.language_modeling import experiment, train


@dataclasses.dataclass(frozen=True)
class Size:
  """The size of an AWD-LSTM; all else is as in the paper's experiment.

  Attributes:
    hidden_size: Width of the first two of its three layers.
    words: Size of the vocabulary.
  """

  hidden_size: int
  words: int

  bptt = 70

  def title(self) -> str:
    """Returns what tables and charts call the model."""
    return f"AWD-LSTM, 3 layers of {self.hidden_size:,}"


def define_size_flags() -> Callable[[], Size]:
  """Defines flags for the size; returns a function that reads them."""
  defaults = {
    "hidden_size": (1150, "Width of the AWD-LSTM's layers.", 1),
    "words": (10_000, "Size of its vocabulary.", 3),
  }
  values = {
    name: flags.DEFINE_integer(name, value, text, lower_bound=least)
    for name, (value, text, least) in defaults.items()
  }
  return lambda: Size(**{name: flag.value for name, flag in values.items()})


def _make_config(size, batch_size):
  config = language_modeling.get_config()
  language_modeling.make_large(config)
  config.model.hidden_size = size.hidden_size
  config.data.made_up_words = size.words
  config.global_batch_size = batch_size
  config.bptt_lengths = (size.bptt,)  # That of the batch alone.
  config.learning_rate.peak = 0.01
  return config


def make_step(
  size: Size, batch_size: int, uses_xla: bool, sync_period: int | None
) -> Callable[[], tf.Tensor]:
  """Returns a function that trains on one batch, always the same.

  The function returns the loss. The step is the trainer's, with all dropouts
  and penalties, clipped gradients, SGD, and the state that the step before
  left.

  Args:
    size: Size of the model.
    batch_size: Columns in a step, with `size.bptt` words each.
    uses_xla: Whether XLA compiles the step; what is a graph otherwise has the
      loss compiled, as on a CPU without the config's `jit_compile`.
    sync_period: Lookahead's, or None for the inner optimizer alone.
  """
  config = _make_config(size, batch_size)
  config.jit_compile = uses_xla or None
  if sync_period is not None:
    lookahead.add_to(config, sync_period=sync_period, slow_step_size=0.5)
  strategy = tf.distribute.OneDeviceStrategy("CPU:0")
  texts = experiment.source_to_compile(config, fake_data=True)
  step, _ = train.make_step(
    experiment.unpack(config, texts, strategy), strategy
  )
  tokens = np.random.default_rng(0).integers(
    size.words, size=(batch_size, size.bptt + 1), dtype=np.int32
  )
  batch = {
    "tokens": tf.constant(tokens),
    "size": tf.constant(size.bptt),
    "is_first": tf.constant(False),
    "step": tf.constant(0),
  }
  return lambda: step(batch)["loss"]


def training_peer(size: Size, batch_size: int) -> dict[str, Any]:
  """Returns arguments that make PyTorch's "awd_lstm" train the same."""
  unpacked = experiment.unpack(
    _make_config(size, batch_size),
    None,
    tf.distribute.OneDeviceStrategy("CPU:0"),
  )
  return {
    "sizes": {
      "vocabulary_size": size.words,
      "embedding_size": unpacked.architecture.embedding_size,
      "widths": unpacked.architecture.widths(),
    },
    "rates": dataclasses.asdict(unpacked.objective.rates),
    "penalties": dataclasses.asdict(unpacked.objective.penalties),
    "shape": (size.bptt, batch_size),
  }
