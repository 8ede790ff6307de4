"""Fields of every translation experiment, with common values.

Not an experiment of its own: the others start from it. `data` and `vocabulary`
are described in docs/translation_data.md.
"""

import ml_collections
from ml_collections import config_dict


def get_config() -> ml_collections.ConfigDict:
  """Returns the fields, to be filled in."""
  return config_dict.create(
    data=dict(
      name="cldr",
      source_language="en",
      target_language="de",
      train_split="train",
      validation_split="validation",
      test_split=config_dict.placeholder(str),
      train_source=config_dict.placeholder(str),
      train_target=config_dict.placeholder(str),
      validation_source=config_dict.placeholder(str),
      validation_target=config_dict.placeholder(str),
      test_source=config_dict.placeholder(str),
      test_target=config_dict.placeholder(str),
      max_length=64,
    ),
    vocabulary=dict(
      kind="unigram",
      size=1_000,
      character_coverage=1.0,
      byte_fallback=True,
      split_digits=True,
      max_sentences=10_000_000,
    ),
  )
