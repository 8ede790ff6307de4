"""Checks of a config before anything is trained or written."""

import ml_collections
import tensorflow as tf

from trainers import config_checks
from trainers.errors import UserError
from trainers.image_classification.sources import Source

# Fields, what they must be, and how that is told.
_RANGES = (
  config_checks.SEED,
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
  config_checks.check_ranges(config, _RANGES)
  replicas = strategy.num_replicas_in_sync
  if config.global_batch_size % replicas:
    raise UserError(
      f"global_batch_size={config.global_batch_size} must be a multiple of the "
      f"number of replicas, which is {replicas}."
    )
  config_checks.check_jit_compile(config, strategy)


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
