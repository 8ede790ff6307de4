"""Checks of a config before anything is trained or written."""

import ml_collections
import tensorflow as tf

from trainers.errors import UserError
from trainers.image_classification.sources import Source

# Fields, what they must be, and how that is told.
_RANGES = (
  ("seed", lambda v: 0 <= v < 2**32 - 1, "in [0, 2**32 - 2]"),
  ("num_epochs", lambda v: v > 0, "positive"),
  ("global_batch_size", lambda v: v > 0, "positive"),
  ("steps_per_loop", lambda v: v > 0, "positive"),
  ("eval_every_epochs", lambda v: v > 0, "positive"),
  ("checkpoint_every_epochs", lambda v: v > 0, "positive"),
  ("keep_checkpoints", lambda v: v > 0, "positive"),
  ("label_smoothing", lambda v: 0 <= v < 1, "in [0, 1)"),
  ("l2_penalty", lambda v: v >= 0, "0 or more"),
  ("data.image_size", lambda v: v > 0, "positive"),
  ("data.crop_padding", lambda v: v >= 0, "0 or more"),
  ("data.shuffle_buffer", lambda v: v > 0, "positive"),
  ("data.std", lambda v: min(v) > 0, "positive"),
  ("model.width", lambda v: v > 0, "positive"),
)


def check_config(
  config: ml_collections.ConfigDict, strategy: tf.distribute.Strategy
) -> None:
  """Raises a UserError for a value that cannot be trained with."""
  for field, is_right, description in _RANGES:
    value = config
    for name in field.split("."):
      value = value[name]
    if not is_right(value):
      raise UserError(f"{field} must be {description}. Received: {value}")
  replicas = strategy.num_replicas_in_sync
  if config.global_batch_size % replicas:
    raise UserError(
      f"global_batch_size={config.global_batch_size} must be a multiple of the "
      f"number of replicas, which is {replicas}."
    )
  if config.jit_compile and replicas > 1:
    raise UserError(
      f"jit_compile=True cannot be had with {replicas} replicas: on a TPU the "
      "strategy compiles by itself, and XLA on CPU and GPU compiles no step in "
      "which replicas meet. Leave it out."
    )


def check_source(config: ml_collections.ConfigDict, source: Source) -> None:
  """Raises a UserError if the data does not go with the config."""
  if config.global_batch_size > source.train.size:
    raise UserError(
      f"global_batch_size={config.global_batch_size} is more than the "
      f"{source.train.size} training examples."
    )
  for field in ("mean", "std"):
    values = tuple(config.data[field])
    if len(values) not in (1, source.channels):
      raise UserError(
        f"data.{field} must hold one number, or one for each channel of "
        f"{config.data.name}, of which there are {source.channels}. "
        f"Received: {values}"
      )
