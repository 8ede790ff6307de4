"""Checks of a translation config before anything is trained or written."""

import math

import ml_collections
import tensorflow as tf

from trainers import config_checks
from trainers.config_checks import is_positive
from trainers.errors import UserError

WEIGHTS = ("best", "last", "average")

_IN_0_1 = (lambda v: 0 <= v < 1, "in [0, 1)")
_POSITIVE = (is_positive, "positive")
# Fields, what they must be, and how that is told.
_RANGES = (
  config_checks.SEED,
  *(
    (field, *_POSITIVE)
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
      "decoding.beam_size",
      "decoding.extra_length",
      "decoding.batch_tokens",
    )
  ),
  *(
    (field, *_IN_0_1)
    for field in (
      "label_smoothing",
      "model.dropout",
      "model.relu_dropout",
      "model.attention_dropout",
    )
  ),
  ("data.max_length", lambda v: v > 1, "2 or more"),
  ("decoding.max_length", lambda v: v > 1, "2 or more"),
  ("decoding.length_penalty", lambda v: v >= 0, "0 or more"),
  ("eval_sentences", lambda v: v is None or v > 0, "positive, or None for all"),
  ("eval_beam_size", lambda v: v is None or v > 0, "positive, or None"),
  ("final_weights", lambda v: v in WEIGHTS, f"one of {WEIGHTS}"),
)


def check_config(
  config: ml_collections.ConfigDict, strategy: tf.distribute.Strategy
) -> None:
  """Raises a UserError for a value that cannot be trained with."""
  config_checks.check_ranges(config, _RANGES)
  config_checks.check_jit_compile(config, strategy)
  width, heads = config.model.d_model, config.model.num_heads
  if width < 1 or width % heads or width % 2:
    raise UserError(
      "model.d_model must be an even multiple of model.num_heads. Received: "
      f"model.d_model={width}, model.num_heads={heads}"
    )
  if config.final_weights == "average" and config.average_checkpoints < 2:
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
      f"{written}."
    )
