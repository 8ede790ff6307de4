"""Checks of the values of a translation config."""

import math

import ml_collections
import tensorflow as tf

from trainers.errors import UserError
from trainers.experiment import (
  FRACTION,
  HELD_OUT,
  NOT_NEGATIVE,
  POSITIVE,
  SEED,
  check_jit_compile,
  check_learning_rate,
  check_optimizer,
  check_ranges,
)
from trainers.translation import vocabulary

WEIGHTS = ("best", "last", "average")

# Fields with a condition on the value of each, and the condition in words.
_RANGES = (
  SEED,
  *(
    (field, *POSITIVE)
    for field in (
      "num_steps",
      "steps_per_loop",
      "eval_every_steps",
      "checkpoint_every_steps",
      "keep_checkpoints",
      "average_checkpoints",
      "model.num_heads",
      "model.num_layers",
      "model.d_ff",
      "vocabulary.size",
      "vocabulary.max_sentences",
      "decoding.beam_size",
      "decoding.extra_length",
      "decoding.batch_tokens",
    )
  ),
  *(
    (field, *FRACTION)
    for field in (
      "label_smoothing",
      "model.dropout",
      "model.relu_dropout",
      "model.attention_dropout",
    )
  ),
  ("data.max_length", lambda v: v > 1, "2 or more"),
  HELD_OUT,
  ("data.split_seed", *NOT_NEGATIVE),
  (
    "vocabulary.kind",
    lambda v: v in vocabulary.KINDS,
    f"one of {vocabulary.KINDS}",
  ),
  (
    "vocabulary.character_coverage",
    lambda v: 0.98 <= v <= 1,
    "in [0.98, 1]",
  ),
  ("decoding.max_length", lambda v: v > 1, "2 or more"),
  ("decoding.length_penalty", *NOT_NEGATIVE),
  ("eval_sentences", lambda v: v is None or v > 0, "positive, or None for all"),
  ("eval_beam_size", lambda v: v is None or v > 0, "positive, or None"),
  ("final_weights", lambda v: v in WEIGHTS, f"one of {WEIGHTS}"),
  (
    "learning_rate.unit",
    lambda v: v == "steps",
    "'steps', which num_steps counts",
  ),
)


def check_fields(config: ml_collections.ConfigDict) -> None:
  """Raises a UserError for a value that no text and no device can go with.

  Args:
    config: An experiment, as in configs/. No text is read.
  """
  check_ranges(config, _RANGES)
  check_learning_rate(config)
  _check_width(config.model)
  _check_checkpoint_average(config)


def check(
  config: ml_collections.ConfigDict, strategy: tf.distribute.Strategy
) -> None:
  """Raises a UserError for a value that no text can be trained with.

  Args:
    config: An experiment, as in configs/. No text is read.
    strategy: The strategy to train with.
  """
  replicas = strategy.num_replicas_in_sync
  check_fields(config)
  check_jit_compile(config, strategy)
  count_rows(config.global_batch_tokens, config.data.max_length, replicas)
  check_optimizer(config, replicas)


def count_rows(global_batch_tokens: int, row_length: int, replicas: int) -> int:
  """Returns how many rows of `row_length` target tokens a global batch has.

  Args:
    global_batch_tokens: Target tokens in a step, over all replicas.
    row_length: Target tokens in a row, with padding.
    replicas: Number of replicas.

  Raises:
    UserError: if each replica would not have the same whole number of rows.
  """
  rows, rest = divmod(global_batch_tokens, row_length)
  if rest or rows < 1 or rows % replicas:
    unit = row_length * replicas
    below = global_batch_tokens // unit * unit
    raise UserError(
      f"global_batch_tokens={global_batch_tokens} must be a multiple of "
      f"{unit}: data.max_length={row_length} for each of {replicas} replicas. "
      f"{f'{below} or ' if below else ''}{below + unit} would do."
    )
  return rows


def _check_width(model):
  width, heads = model.d_model, model.num_heads
  if width < 1 or width % heads or width % 2:
    raise UserError(
      "model.d_model must be an even multiple of model.num_heads. Received: "
      f"model.d_model={width}, model.num_heads={heads}"
    )


def _check_checkpoint_average(config):
  """Raises a UserError if fewer checkpoints are kept than are averaged.

  The program `translate` counts the checkpoints of a finished run by itself.
  """
  if config.final_weights != "average":
    return
  if config.average_checkpoints < 2:
    raise UserError(
      "final_weights='average' needs average_checkpoints of 2 or more. "
      f"Received: {config.average_checkpoints}"
    )
  written = math.ceil(config.num_steps / config.checkpoint_every_steps)
  kept = min(config.keep_checkpoints, written)
  if config.average_checkpoints > kept:
    raise UserError(
      f"average_checkpoints={config.average_checkpoints} is more than the "
      f"{kept} that there are at the end: keep_checkpoints="
      f"{config.keep_checkpoints}, and num_steps={config.num_steps} writes "
      f"{written}. Lower --config.checkpoint_every_steps, or take "
      "--config.final_weights=best"
    )
