"""Runs of a tiny translation model on a few phrases."""

import os

import ml_collections

from configs import phrases
from trainers.translation import cldr_phrases

Splits = dict[str, list[tuple[str, str]]]
WITHOUT_DROPOUT = {
  f"model.{name}": 0.0
  for name in ("dropout", "relu_dropout", "attention_dropout")
}


def splits() -> Splits:
  """Returns 400 short phrases to train, and 12 for each other split."""
  phrases = cldr_phrases.make_splits()["train"]
  pairs = [pair for pair in phrases if len(pair[0]) < 30]
  return {
    "train": pairs[:400],
    "validation": pairs[400:412],
    "test": pairs[412:424],
  }


def write_text(directory: str, splits_of_pairs: Splits | None = None) -> None:
  """Writes pairs, by default the phrases, as SPLIT.source and SPLIT.target."""
  os.makedirs(directory, exist_ok=True)
  for name, pairs in (splits_of_pairs or splits()).items():
    for side, sentences in zip(("source", "target"), zip(*pairs)):
      with open(os.path.join(directory, f"{name}.{side}"), "w") as file:
        file.writelines(f"{sentence}\n" for sentence in sentences)


def fields() -> dict[str, object]:
  """Returns what makes the config below of configs/phrases.py."""
  return {
    "num_steps": 8,
    "global_batch_tokens": 256,
    "data.name": "text_files",
    **{
      f"data.{name}_{side}": f"{name}.{side}"
      for name in ("train", "validation", "test")
      for side in ("source", "target")
    },
    "data.max_length": 32,
    "vocabulary.size": 400,
    "model.d_model": 16,
    "model.num_heads": 2,
    "model.num_layers": 1,
    "model.d_ff": 32,
    "model.dropout": 0.1,
    "model.relu_dropout": 0.1,
    "model.attention_dropout": 0.1,
    "lookahead.sync_period": 3,
    "steps_per_loop": 2,
    "eval_every_steps": 4,
    "eval_beam_size": 2,
    "checkpoint_every_steps": 4,
    "decoding.max_length": 16,
    "decoding.extra_length": 4,
    "decoding.beam_size": 2,
    "jit_compile": False,
  }


def config(**changed) -> ml_collections.ConfigDict:
  """Returns a config of 8 steps on the files of `write_text`."""
  made = phrases.get_config("lookahead")
  made.update_from_flattened_dict({**fields(), **changed})
  return made.lock()


def flatten(value, prefix: str = "") -> dict:
  """Returns a config's fields by their dotted names."""
  if not isinstance(value, ml_collections.ConfigDict):
    return {prefix: value}
  fields = {}
  for name, child in value.items():
    fields |= flatten(child, f"{prefix}.{name}" if prefix else name)
  return fields
