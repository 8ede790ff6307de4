"""Which values an image classification config may have, and on which data."""

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
  check_learning_rate,
  check_ranges,
  check_training,
  smaller_batch,
)
from trainers.image_classification import step
from trainers.image_classification.model import FEATURES
from trainers.image_classification.pipelines import KINDS
from trainers.image_classification.pixels import FILLS
from trainers.image_classification.speedrun import LEAST_IMAGE_SIZE
from trainers.image_classification.splits import Source

_IMAGENET_WIDTH = 64  # The only width of an "imagenet_resnet".

# Fields with a condition on the value of each, and the condition in words.
_RANGES = (
  SEED,
  ("num_epochs", *POSITIVE),
  ("global_batch_size", *POSITIVE),
  ("steps_per_loop", *POSITIVE),
  ("eval_every_epochs", *POSITIVE),
  ("checkpoint_every_epochs", *POSITIVE),
  ("keep_checkpoints", *POSITIVE),
  ("label_smoothing", *FRACTION),
  ("l2_penalty", *NOT_NEGATIVE),
  ("data.pipeline", lambda v: v in KINDS, f"one of {[*KINDS]}"),
  ("data.image_size", *POSITIVE),
  ("data.crop_padding", *NOT_NEGATIVE),
  ("data.shuffle_buffer", *POSITIVE),
  ("data.crop_fill", lambda v: v in FILLS, f"one of {[*FILLS]}"),
  HELD_OUT,
  ("data.split_seed", *NOT_NEGATIVE),
  ("data.std", lambda v: min(v) > 0, "positive"),
  ("model.name", lambda v: v in FEATURES, f"one of {[*FEATURES]}"),
  ("model.width", *POSITIVE),
  (
    "model.blocks_per_stage",
    lambda v: all(blocks > 0 for blocks in v),
    "positive for each stage",
  ),
  ("model.batch_norm_momentum", *FRACTION),
  ("model.batch_norm_bias_rate", *POSITIVE),
  ("model.logit_scale", *POSITIVE),
  ("model.whitening_images", lambda v: v is None or v > 0, "positive, or None"),
  (
    "model.whitening_bias_epochs",
    lambda v: v is None or v >= 0,
    "0 or more, or None",
  ),
  (
    "test_time_augmentation",
    lambda v: v in step.TEST_TIME_AUGMENTATIONS,
    f"one of {[*step.TEST_TIME_AUGMENTATIONS]}",
  ),
)

# Fields that one kind of pipeline uses: the kind, and the value that the field
# must have with the other kind.
_FIELDS_OF_A_KIND = {
  "antialias": ("large_images", None),
  "crop_padding": ("small_images", 0),
  "crop_fill": ("small_images", "black"),
  "alternating_flip": ("small_images", False),
  "cache": ("small_images", None),
  "crop_area": ("large_images", None),
  "crop_aspect_ratio": ("large_images", None),
  "eval_resize": ("large_images", None),
}


def check_fields(config: ml_collections.ConfigDict) -> None:
  """Raises a UserError for a value that no data and no device can go with.

  Args:
    config: An experiment, as in configs/. No data is read.
  """
  check_ranges(config, _RANGES)
  check_learning_rate(config)
  _check_pipeline(config.data)
  model = config.model
  _check_speedrun(model, config.data)
  if model.name == "imagenet_resnet" and model.width != _IMAGENET_WIDTH:
    raise UserError(
      f"model.width must be {_IMAGENET_WIDTH} for "
      f"model.name='imagenet_resnet'. Received: {model.width}"
    )


def check(
  config: ml_collections.ConfigDict, strategy: tf.distribute.Strategy
) -> None:
  """Raises a UserError for a value that no data can be trained with.

  Args:
    config: An experiment, as in configs/. No data is read.
    strategy: The strategy to train with.
  """
  check_fields(config)
  check_training(config, strategy)


def _check_speedrun(model, data):
  """Raises a UserError for fields that do not go with the model "speedrun"."""
  is_speedrun = model.name == "speedrun"
  for field in ("whitening_images", "whitening_bias_epochs"):
    if is_speedrun == (model[field] is None):
      raise UserError(
        f"model.{field} must be a number for model.name='speedrun', and None "
        f"for others. Received: {model[field]} for {model.name!r}"
      )
  if is_speedrun and data.image_size < LEAST_IMAGE_SIZE:
    raise UserError(
      f"data.image_size must be {LEAST_IMAGE_SIZE} or more for model.name="
      f"'speedrun'. Received: {data.image_size}"
    )


def _check_pipeline(data):
  """Raises a UserError for fields that the data or pipeline does not use."""
  if data.validation_fraction and data.name != "image_folder":
    raise UserError(
      f"data.validation_fraction={data.validation_fraction} goes with "
      f"data.name='image_folder', not with {data.name!r}, whose validation "
      "split is data.validation_split. Change one of the two."
    )
  for field, (kind, unused) in _FIELDS_OF_A_KIND.items():
    if data.pipeline != kind and data[field] != unused:
      raise UserError(
        f"data.{field}={data[field]} goes with data.pipeline={kind!r}. With "
        f"{data.pipeline!r} it must be {unused}."
      )
  if data.alternating_flip and not data.horizontal_flip:
    raise UserError(
      "data.alternating_flip=True goes with data.horizontal_flip=True. "
      f"Received: data.horizontal_flip={data.horizontal_flip}"
    )
  if data.crop_fill == "reflect" and data.crop_padding >= data.image_size:
    raise UserError(
      f"data.crop_padding must be less than data.image_size={data.image_size} "
      f"for data.crop_fill='reflect'. Received: {data.crop_padding}"
    )
  if data.pipeline == "large_images":
    if data.eval_resize and data.eval_resize < data.image_size:
      raise UserError(
        f"data.eval_resize={data.eval_resize} must not be less than "
        f"data.image_size={data.image_size}, which is cut out of it."
      )
    for field, least, greatest in (
      ("crop_area", 0, 1),
      ("crop_aspect_ratio", 0, math.inf),
    ):
      values = data[field]
      if values is not None and not _is_range(values, least, greatest):
        raise UserError(
          f"data.{field} must be the least and the greatest value, above "
          f"{least} and at most {greatest}. Received: {values}"
        )


def _is_range(values, least, greatest):
  """Whether `values` is two numbers in order, in (least, greatest]."""
  try:
    low, high = values
    return least < low <= high <= greatest
  except (TypeError, ValueError):  # Not two, or no numbers.
    return False


def check_source(
  config: ml_collections.ConfigDict, source: Source, replicas: int
) -> None:
  """Raises a UserError if the data does not go with the config.

  Args:
    config: An experiment, which `check` has passed.
    source: The data set.
    replicas: Number of replicas to train with.
  """
  if len(source.class_names) < 2:
    raise UserError(
      f"data.name={config.data.name!r} has one class, "
      f"{source.class_names[0]!r}: a classifier needs two or more."
    )
  if config.global_batch_size > source.train.size:
    raise UserError(
      f"global_batch_size={config.global_batch_size} is more than the "
      f"{source.train.size} training examples: try "
      f"--config.global_batch_size={smaller_batch(source.train.size, replicas)}"
    )
  suits_large_images = source.train.is_encoded or source.is_made_up
  if config.data.pipeline == "large_images" and not suits_large_images:
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
