"""Checks of a config before anything is trained or written."""

import math

import ml_collections
import tensorflow as tf

from trainers import config_checks
from trainers.errors import UserError
from trainers.image_classification import crops
from trainers.image_classification.input_pipeline import KINDS
from trainers.image_classification.splits import Source, Split

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
  ("data.pipeline", lambda v: v in KINDS, f"one of {KINDS}"),
  ("data.image_size", lambda v: v > 0, "positive"),
  ("data.crop_padding", lambda v: v >= 0, "0 or more"),
  ("data.shuffle_buffer", lambda v: v > 0, "positive"),
  ("data.std", lambda v: min(v) > 0, "positive"),
  ("model.width", lambda v: v > 0, "positive"),
)

# The kind of pipeline that uses a field, and the value for the others.
_FIELDS_OF_A_KIND = {
  "antialias": ("large_images", None),
  "crop_padding": ("small_images", 0),
  "cache": ("small_images", None),
  "crop_area": ("large_images", None),
  "crop_aspect_ratio": ("large_images", None),
  "eval_resize": ("large_images", None),
}


def check_config(
  config: ml_collections.ConfigDict, strategy: tf.distribute.Strategy
) -> None:
  """Raises a UserError for a value that cannot be trained with."""
  config_checks.check_ranges(config, _RANGES)
  _check_pipeline(config.data)
  replicas = strategy.num_replicas_in_sync
  if config.global_batch_size % replicas:
    raise UserError(
      f"global_batch_size={config.global_batch_size} must be a multiple of the "
      f"number of replicas, which is {replicas}."
    )
  config_checks.check_jit_compile(config, strategy)


def _check_pipeline(data):
  """Raises a UserError for what the chosen pipeline has no use for."""
  for field, (kind, unused) in _FIELDS_OF_A_KIND.items():
    if data.pipeline != kind and data[field] != unused:
      raise UserError(
        f"data.{field}={data[field]} goes with data.pipeline={kind!r}. With "
        f"{data.pipeline!r} it must be {unused}."
      )
  if data.pipeline == "large_images":
    resize = crops.eval_resize(data)
    if resize < data.image_size:
      raise UserError(
        f"data.eval_resize={resize} must not be less than data.image_size="
        f"{data.image_size}, which is cut out of it."
      )
    for field, least, greatest in (
      ("crop_area", 0, 1),
      ("crop_aspect_ratio", 0, math.inf),
    ):
      values = data[field]
      is_range = values is None or (
        len(values) == 2 and least < values[0] <= values[1] <= greatest
      )
      if not is_range:
        raise UserError(
          f"data.{field} must be the least and the greatest value, above "
          f"{least} and at most {greatest}. Received: {values}"
        )


def check_source(config: ml_collections.ConfigDict, source: Source) -> None:
  """Raises a UserError if the data does not go with the config."""
  if config.global_batch_size > source.train.size:
    raise UserError(
      f"global_batch_size={config.global_batch_size} is more than the "
      f"{source.train.size} training examples."
    )
  if config.data.pipeline == "large_images" and isinstance(source.train, Split):
    raise UserError(
      "data.pipeline='large_images' decodes image files, and "
      f"data.name={config.data.name!r} has none: use 'small_images'."
    )
  for field in ("mean", "std"):
    values = tuple(config.data[field])
    if len(values) not in (1, source.channels):
      raise UserError(
        f"data.{field} must hold one number, or one for each channel of "
        f"{config.data.name}, of which there are {source.channels}. "
        f"Received: {values}"
      )
