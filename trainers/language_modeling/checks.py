"""Which values a language modeling config may have, and on which text."""

from collections.abc import Mapping

import ml_collections
import numpy as np
import tensorflow as tf

from trainers.errors import UserError
from trainers.experiment import (
  FRACTION,
  NOT_NEGATIVE,
  POSITIVE,
  SEED,
  check_learning_rate,
  check_ranges,
  check_training,
)
from trainers.language_modeling import segments
from trainers.language_modeling.regularization import MAX_LAYERS
from trainers.language_modeling.sources import Source

WEIGHTS = ("best", "last")

# Fields with a condition on the value of each, and the condition in words.
_RANGES = (
  SEED,
  *(
    (field, *POSITIVE)
    for field in (
      "num_epochs",
      "global_batch_size",
      "bptt",
      "model.embedding_size",
      "model.hidden_size",
      "eval_batch_size",
      "eval_every_epochs",
      "checkpoint_every_epochs",
      "keep_checkpoints",
      "steps_per_loop",
    )
  ),
  *(
    (f"model.{name}_dropout", *FRACTION)
    for name in ("word", "input", "hidden", "output", "weight")
  ),
  *(
    (field, *NOT_NEGATIVE)
    for field in (
      "activation_penalty",
      "temporal_penalty",
      "plateau.patience",
      "eval_context",
    )
  ),
  (
    "model.num_layers",
    lambda v: 1 <= v <= MAX_LAYERS,
    f"from 1 to {MAX_LAYERS}",
  ),
  ("data.made_up_words", lambda v: v > 2, "3 or more"),
  ("plateau.factor", lambda v: 0 < v < 1, "between 0 and 1"),
  ("final_weights", lambda v: v in WEIGHTS, f"one of {WEIGHTS}"),
)


def check_fields(config: ml_collections.ConfigDict) -> None:
  """Raises a UserError for a value that no text and no device can go with.

  Args:
    config: An experiment, as in configs/. No data is read.
  """
  check_ranges(config, _RANGES)
  check_learning_rate(config)
  segments.Lengths(config.bptt, tuple(config.bptt_lengths))


def check(
  config: ml_collections.ConfigDict, strategy: tf.distribute.Strategy
) -> None:
  """Raises a UserError for a value that no text can be trained with.

  Args:
    config: An experiment, as in configs/. No data is read.
    strategy: The strategy to train with.
  """
  check_fields(config)
  check_training(config, strategy)


def check_text(
  config: ml_collections.ConfigDict,
  source: Source,
  tokens: Mapping[str, np.ndarray],
) -> None:
  """Raises a UserError if a split has too few words for its columns.

  Args:
    config: An experiment, which `check` has passed.
    source: The data set.
    tokens: int32 of shape (words,) for each split of the data set, by name.
  """
  segments.check_columns(
    len(tokens["train"]),
    config.global_batch_size,
    config.bptt,
    source.train.name,
    "global_batch_size",
  )
  for name, evaluated in tokens.items():
    if name != "train" and config.eval_batch_size > len(evaluated):
      raise UserError(
        f"eval_batch_size={config.eval_batch_size} columns are more than the "
        f"{len(evaluated):,} words of {getattr(source, name).name}."
      )
