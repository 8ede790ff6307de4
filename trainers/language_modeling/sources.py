"""Where text comes from: a directory of text files, Python's documentation.

Text files are in the form of Mikolov's Penn Treebank or of WikiText: words with
white space between them.
"""

import dataclasses
import functools
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import tensorflow as tf

from trainers import files, text_files
from trainers.errors import UserError
from trainers.language_modeling import pydoc_topics

NAMES = ("pydoc", "text_files")
SPLITS = ("train", "validation", "test")
# What a split's file is called in a directory, with the split's own name.
_FILE_NAMES = ("ptb.{}.txt", "wiki.{}.tokens", "{}.txt", "{}.tokens", "{}.gz")
_NAMES_OF_SPLITS = {
  "train": ("train",),
  "validation": ("valid", "validation"),
  "test": ("test",),
}


@dataclasses.dataclass(frozen=True)
class Split:
  """One part of a text.

  Attributes:
    name: What messages call this split, such as the path of its file.
    lines: Number of lines.
    words: Number of words, without the ends of lines.
    fingerprint: Tells this text from another.
    read: Returns an iterator over the lines.
  """

  name: str
  lines: int
  words: int
  fingerprint: str
  read: Callable[[], Iterator[str]]


@dataclasses.dataclass(frozen=True)
class Source:
  """A text.

  Attributes:
    train: The split to train on.
    validation: The split to evaluate on during training.
    test: The split to evaluate on at its end, or None.
    is_made_up: Whether nothing can be learned from it.
  """

  train: Split
  validation: Split
  test: Split | None
  is_made_up: bool = False

  def describe(self) -> dict[str, Any]:
    """Returns what tells this source from another, JSON-like."""
    return {
      name: {
        "lines": split.lines,
        "words": split.words,
        "fingerprint": split.fingerprint,
      }
      for name in SPLITS
      if (split := getattr(self, name))
    }


@dataclasses.dataclass(frozen=True)
class Data:
  """What names a text.

  Attributes:
    name: One of NAMES.
    text_files: Paths by the names of SPLITS, None for those that are to be
      found in the directory by their usual names.
  """

  name: str
  text_files: Mapping[str, str | None]


def load(data: Data, data_dir: str | None) -> Source:
  """Returns the source that `data` names.

  Args:
    data: Which text.
    data_dir: The directory of text files.

  Raises:
    UserError: if there is no such text, or if a split has no words.
  """
  if data.name == "pydoc":
    return _pydoc(data, data_dir)
  if data.name == "text_files":
    return _text_files(data.text_files, data_dir)
  raise UserError(f"data.name must be one of {NAMES}. Received: {data.name!r}")


def read_split(path: str) -> Split:
  """Returns the text of one file, plain or gzip, as a split.

  Raises:
    UserError: if it cannot be read, is not UTF-8 or has no words.
  """
  return _split(path, lambda: text_files.read_lines(path))


def made_up(words: int) -> Source:
  """Returns lines of made-up words, for benchmarks: nothing can be learned.

  Args:
    words: How many different ones there are, `<unk>` and the end of a line
      among them.
  """
  names = [pydoc_topics.UNKNOWN, *(f"word{i}" for i in range(words - 2))]

  def read(count):
    for start in range(0, count, 20):
      yield " ".join(
        names[place % len(names)] for place in range(start, start + 20)
      )

  return Source(
    *(
      _split(f"made up, {name}", functools.partial(read, count))
      for name, count in zip(SPLITS, (20 * words, 20_000, 20_000))
    ),
    is_made_up=True,
  )


def _pydoc(data, data_dir):
  given = {f"data.{k}_file": v for k, v in data.text_files.items() if v}
  if data_dir:
    given["--data_dir"] = data_dir
  if given:
    name, value = next(iter(given.items()))
    raise UserError(
      f"data.name='pydoc' reads no files: leave out {name}={value}, or set "
      "data.name='text_files'."
    )
  splits = pydoc_topics.make_splits()
  return Source(
    *(_split(f"pydoc, {name}", splits[name].__iter__) for name in SPLITS)
  )


def _text_files(paths, data_dir):
  if not data_dir and not (paths["train"] and paths["validation"]):
    raise UserError(
      "data.name='text_files' needs --data_dir=DIRECTORY with the text files."
    )
  if data_dir:
    files.check_data_dir(data_dir)

  def split(name):
    given = paths[name]
    if given:
      path = os.path.join(data_dir or "", files.expand(given))
    else:
      path = _find(name, data_dir) if data_dir else None
    return read_split(path) if path else None

  return Source(*map(split, SPLITS))


def _find(name, data_dir):
  """Returns the path of a split's file; None if there is no test split."""
  candidates = [
    pattern.format(own)
    for own in _NAMES_OF_SPLITS[name]
    for pattern in _FILE_NAMES
  ]
  present = {entry.rstrip("/") for entry in tf.io.gfile.listdir(data_dir)}
  found = [candidate for candidate in candidates if candidate in present]
  if len(found) > 1:
    raise UserError(
      f"--data_dir={data_dir} has {' and '.join(found)}: say which is meant by "
      f"--config.data.{name}_file={found[0]}"
    )
  if not found and name != "test":
    archives = files.tell_archives(data_dir)
    raise UserError(
      f"--data_dir={data_dir} has no file for the {name} split, such as "
      f"{candidates[0]} or {candidates[2]}: name one by "
      f"--config.data.{name}_file=FILE{'.' * bool(archives)}{archives}"
    )
  return os.path.join(data_dir, found[0]) if found else None


def _split(name: str, read: Callable[[], Iterable[str]]) -> Split:
  """Returns a split, after reading it to its end."""
  fingerprint = hashlib.sha256()
  lines = words = 0
  for line in read():
    lines += 1
    words += len(line.split())
    fingerprint.update(line.encode() + b"\n")
  if not words:
    raise UserError(f"{name} has no words.")
  return Split(name, lines, words, fingerprint.hexdigest(), read)
