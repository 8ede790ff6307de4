"""What the benchmarks use of the translation trainer: steps, searches, input.

No other file of benchmarks/ imports `trainers.translation` or one of its
configs.
"""

import dataclasses
import itertools
import tempfile
import time
from collections.abc import Callable
from typing import Any

import ml_collections
import numpy as np
import tensorflow as tf
from absl import flags

from configs import lookahead, translation
from trainers import devices
from trainers.translation import (
  beam_search,
  experiment,
  sources,
  train,
  vocabulary,
)
from trainers.translation import model as model_lib
from trainers.translation import rows as rows_lib
from trainers.translation.pipelines import RowsPipeline


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


def _make_config(size):
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
  config = _make_config(size)
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
  config = _make_config(size)
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


def make_search(
  size: Size, sentences: int, beam_size: int, extra_length: int, uses_xla: bool
) -> Callable[[], None]:
  """Returns a function that translates random sentences by beam search.

  Weights are random. The end of a sentence is never likely, so that every
  translation has `extra_length` tokens more than its source.

  Args:
    size: Size of the model.
    sentences: Sentences that are searched together.
    beam_size: Hypotheses of a sentence.
    extra_length: Tokens that a translation has more than its source.
    uses_xla: Whether XLA compiles the search.
  """
  config = _make_config(size)
  strategy = tf.distribute.OneDeviceStrategy("CPU:0")
  unpacked = experiment.unpack(config, None, strategy)
  model = model_lib.make_model(unpacked.architecture, size.subwords)
  beam = dataclasses.replace(unpacked.decoding, beam_size=beam_size).beam
  # The end of a sentence gets a logit of 0: others are always likelier.
  embedding = model.get_layer("embedding").weights[0]
  embedding.assign(
    tf.tensor_scatter_nd_update(
      embedding, [[beam.eos_id]], tf.zeros((1, size.width))
    )
  )
  decode = beam_search.make_decoder(model, beam, extra_length, uses_xla)
  shape = (sentences, size.length)
  random = np.random.default_rng(0)
  source = tf.constant(random.integers(3, size.subwords, shape, "int32"))

  def search():
    tokens = decode(source).numpy()
    if (tokens[:, -1] != beam.eos_id).any():
      raise AssertionError("A translation ended before its greatest length.")

  return search


def search_peer(
  size: Size, sentences: int, beam_size: int, extra_length: int
) -> dict[str, Any]:
  """Returns arguments that make Hugging Face's "generation" do the same."""
  config = _make_config(size)
  return {
    "sizes": {
      "vocab_size": size.subwords,
      "d_model": size.width,
      "ffn_dim": config.model.d_ff,
      "attention_heads": size.heads,
      "layers": size.layers,
    },
    "source_shape": (sentences, size.length),
    "new_tokens": size.length + extra_length,
    "beam_size": beam_size,
    "length_penalty": config.decoding.length_penalty,
  }


def load_text(
  config: ml_collections.ConfigDict, data_dir: str | None
) -> tuple[sources.Split, vocabulary.Vocabulary]:
  """Returns the training text of an experiment, and its vocabulary.

  Raises:
    UserError: for what the user can put right.
  """
  data = experiment.read_data(config.data)
  split = sources.load(data, data_dir).train
  recipe = vocabulary.Recipe(**config.vocabulary)
  with tempfile.TemporaryDirectory() as directory:
    words = vocabulary.load_or_train(split, recipe, directory)
  return split, words


def pack_text(
  split: sources.Split, words: vocabulary.Vocabulary, length: int
) -> tuple[rows_lib.Rows, float]:
  """Returns rows of so many tokens on each side, and the seconds they took."""
  with tempfile.TemporaryDirectory() as directory:
    started = time.perf_counter()
    rows = rows_lib.training_rows(split, words, length, directory)
    return rows, time.perf_counter() - started


def read_speed(rows: rows_lib.Rows, rows_per_batch: int, batches: int) -> float:
  """Returns how many target tokens, without padding, are read a second."""
  pipeline = RowsPipeline(
    rows, rows_per_batch, seed=0, context=tf.distribute.InputContext()
  )
  iterator = iter(pipeline.batches(first_step=0))
  next(iterator)  # Traces, and starts the threads.
  text = tf.constant(0, tf.int64)
  started = time.perf_counter()
  for batch in itertools.islice(iterator, batches):
    text += tf.math.count_nonzero(batch["target"])
  return int(text) / (time.perf_counter() - started)


def pack_lengths(
  lengths: np.ndarray, row_length: int
) -> tuple[np.ndarray, float]:
  """Returns rows of made-up sentences, and the CPU seconds they took.

  Args:
    lengths: int32 (pairs, 2), the tokens of both sides of each pair.
    row_length: Tokens of a row, on each side.

  Returns:
    uint16 (rows, 2, row_length), and seconds of the one thread that packs.
  """
  tokens = tuple(np.ones(total, np.uint16) for total in lengths.sum(axis=0))
  started = time.process_time()
  rows = rows_lib.assign_rows(lengths, row_length)
  packed = rows_lib.fill_rows(tokens, lengths, rows, row_length)
  return packed, time.process_time() - started
