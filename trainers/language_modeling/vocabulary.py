"""Words and their numbers: the vocabulary of a training text."""

import array
import hashlib
import itertools
import os
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from trainers import files
from trainers.errors import UserError
from trainers.language_modeling.sources import Split

END = "<eos>"  # Of a line.
UNKNOWN = "<unk>"
FILE_NAME = "words.txt"  # In the directory of a run.


class Vocabulary:
  """The words of a language model.

  Args:
    words: The words in the order of their numbers, without a repetition. END is
      the first.

  Raises:
    UserError: if these are not the words of a vocabulary.
  """

  def __init__(self, words: Sequence[str]):
    self.words = tuple(words)
    self._numbers = {word: number for number, word in enumerate(self.words)}
    if len(self._numbers) < len(self.words) or self.words[:1] != (END,):
      raise UserError(
        f"The words of a vocabulary must begin with {END}, and none may stand "
        f"twice. Received: {len(self.words):,} words, the first of which is "
        f"{(*self.words, None)[0]!r}"
      )

  @classmethod
  def of(cls, split: Split) -> "Vocabulary":
    """Returns all words of a split, in the order in which they first occur."""
    words = itertools.chain.from_iterable(map(str.split, split.read()))
    return cls(dict.fromkeys(itertools.chain([END], words)))

  @property
  def size(self) -> int:
    """The number of words, END among them."""
    return len(self.words)

  def describe(self) -> dict[str, Any]:
    """Returns what tells this vocabulary from another, JSON-like."""
    text = "\n".join(self.words)
    return {
      "size": self.size,
      "fingerprint": hashlib.sha256(text.encode()).hexdigest(),
    }

  def encode(self, split: Split) -> np.ndarray:
    """Returns the numbers of all words of a split, END behind each line.

    A word that the vocabulary has not is UNKNOWN.

    Returns:
      int32 of shape (words + lines,).

    Raises:
      UserError: if there are such words, and the vocabulary has no UNKNOWN.
    """
    numbers = array.array("i")
    missing = {}
    unknown = self._numbers.get(UNKNOWN)
    for line in split.read():
      for word in line.split():
        number = self._numbers.get(word, unknown)
        if number is None:
          missing[word] = missing.get(word, 0) + 1
        else:
          numbers.append(number)
      numbers.append(self._numbers[END])
    if missing:
      one = reprlib.repr(next(iter(missing)))  # Which may be of any length.
      raise UserError(
        f"{split.name}: {sum(missing.values()):,} of its {split.words:,} words "
        f"are not in the vocabulary ({len(missing):,} different ones, such as "
        f"{one}), which has no {UNKNOWN} to put in their "
        "place. The vocabulary is that of the training text, or that of the "
        f"run which --init_from names: write {UNKNOWN} for rare words in all "
        "files."
      )
    return np.frombuffer(numbers, np.int32)

  def count_unknown(self, tokens: np.ndarray) -> int:
    """Returns how many of the numbers that `encode` returns are UNKNOWN."""
    return int(np.sum(tokens == self._numbers.get(UNKNOWN, -1)))

  def encode_words(self, words: Iterable[str]) -> list[int]:
    """Returns the numbers of some words.

    Raises:
      UserError: as `encode` does.
    """
    line = " ".join(words)
    split = Split(repr(line), 1, len(line.split()), "", lambda: iter([line]))
    return self.encode(split)[:-1].tolist()


def save(words: Vocabulary, workdir: str) -> None:
  """Writes a vocabulary into the directory of a run, a word a line.

  Raises:
    UserError: if it cannot be written.
  """
  path = os.path.join(workdir, FILE_NAME)
  with files.writing(path):
    files.write_whole(path, "".join(f"{word}\n" for word in words.words))


def load(workdir: str, record: Mapping[str, Any]) -> Vocabulary:
  """Returns the vocabulary that a run was trained with.

  Args:
    workdir: Directory of the run.
    record: The run's vocabulary.json.

  Raises:
    UserError: if the vocabulary is not there.
  """
  path = os.path.join(workdir, FILE_NAME)
  try:
    with tf.io.gfile.GFile(path) as file:
      words = Vocabulary(file.read().split("\n")[:-1])
  except (tf.errors.OpError, UnicodeDecodeError, UserError):
    words = None
  if words is None or words.describe() != record:
    raise UserError(
      f"{path} is not the vocabulary that this run was trained with, whose "
      f"SHA-256 is {record['fingerprint']}: put it back."
    )
  return words
