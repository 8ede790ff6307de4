"""Checks of a config that all trainers make."""

from collections.abc import Callable, Sequence
from typing import Any

import ml_collections
import tensorflow as tf

from trainers.errors import UserError

# A field such as "data.size", what its value must be, and how that is told.
Range = tuple[str, Callable[[Any], bool], str]


def is_positive(value: Any) -> bool:
  """Whether a number is above 0."""
  return value > 0


SEED: Range = (
  "seed",
  lambda v: 0 <= v < 2**32 - 1,
  "in [0, 2**32 - 2]",
)


def check_ranges(
  config: ml_collections.ConfigDict, ranges: Sequence[Range]
) -> None:
  """Raises a UserError for the first value that is not what it must be."""
  for field, is_right, description in ranges:
    value = config
    for name in field.split("."):
      value = value[name]
    if not is_right(value):
      raise UserError(f"{field} must be {description}. Received: {value}")


def check_jit_compile(
  config: ml_collections.ConfigDict, strategy: tf.distribute.Strategy
) -> None:
  """Raises a UserError for jit_compile=True where it cannot be had."""
  replicas = strategy.num_replicas_in_sync
  if config.jit_compile and replicas > 1:
    raise UserError(
      f"jit_compile=True cannot be had with {replicas} replicas: on a TPU the "
      "strategy compiles by itself, and XLA on CPU and GPU compiles no step in "
      "which replicas meet. Leave it out."
    )
