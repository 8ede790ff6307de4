"""Runs of a tiny language model on a made-up text."""

import os

import ml_collections
import numpy as np

from configs import language_modeling, lookahead

_SUBJECTS = ("the king", "a fox", "one old man", "nobody")
_VERBS = ("sees", "likes", "<unk>", "follows")
_OBJECTS = ("birds", "the river .", "it , and sleeps", "cake")
WORDS = sorted({*" ".join((*_SUBJECTS, *_VERBS, *_OBJECTS)).split()})


def lines(count: int, seed: int) -> list[str]:
  """Returns so many sentences of few words."""
  random = np.random.default_rng(seed)
  return [
    " ".join(random.choice(part) for part in (_SUBJECTS, _VERBS, _OBJECTS))
    for _ in range(count)
  ]


def write_text(directory: str) -> None:
  """Writes train.txt, valid.txt and test.txt."""
  os.makedirs(directory, exist_ok=True)
  for seed, (name, count) in enumerate(
    (("train", 90), ("valid", 12), ("test", 15))
  ):
    with open(os.path.join(directory, f"{name}.txt"), "w") as file:
      file.writelines(f" {line} \n" for line in lines(count, seed))


def config(directory: str, **changed) -> ml_collections.ConfigDict:
  """Returns a config of two epochs on the files of `write_text`."""
  made = language_modeling.get_config()
  lookahead.add_to(made, sync_period=3, slow_step_size=0.5)
  made.update_from_flattened_dict(
    {
      "num_epochs": 2.0,
      "global_batch_size": 8,
      "bptt": 12,
      "bptt_lengths": (8, 15),
      "data.name": "text_files",
      "data.train_file": os.path.join(directory, "train.txt"),
      "data.validation_file": os.path.join(directory, "valid.txt"),
      "data.test_file": os.path.join(directory, "test.txt"),
      "model.embedding_size": 8,
      "model.hidden_size": 12,
      "eval_batch_size": 3,
      "eval_context": 4,
      "steps_per_loop": 4,
      "final_weights": "last",
      "jit_compile": False,
      **changed,
    }
  )
  return made.lock()
