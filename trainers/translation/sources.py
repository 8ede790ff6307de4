"""Where pairs of sentences come from: text files, TFDS, phrases of CLDR.

Text files are plain or gzip. Line i of the target file is the translation of
line i of the source file.
"""

import dataclasses
import hashlib
import itertools
import json
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import tensorflow as tf
import tensorflow_datasets as tfds

from trainers import files, text_files, tfds_data
from trainers.errors import UserError, first_line
from trainers.input import prefetch
from trainers.translation import cldr_phrases

Pair = tuple[str, str]
SPLITS = ("train", "validation", "test")
SIDES = ("source", "target")
_HELD_OUT = (
  ", or --config.data.validation_fraction=0.1 to hold out a tenth of the pairs"
)


@dataclasses.dataclass(frozen=True)
class Split:
  """One part of a data set of sentence pairs.

  Attributes:
    name: "train", "validation" or "test".
    size: Number of pairs.
    fingerprint: Differs for other text.
    read: Returns an iterator over the pairs (source, target), in a fixed order.
      A sentence has no white space around it, and may be empty.
  """

  name: str
  size: int
  fingerprint: str
  read: Callable[[], Iterator[Pair]]

  def columns(self) -> tuple[list[str], list[str]]:
    """Returns all source and all target sentences of a split that is small."""
    sources, targets = zip(*self.read())
    return list(sources), list(targets)


@dataclasses.dataclass(frozen=True)
class Source:
  """A data set of sentence pairs.

  Attributes:
    train: The pairs to train on.
    validation: The pairs to evaluate on during training.
    test: The pairs to evaluate on at its end, or None.
  """

  train: Split
  validation: Split
  test: Split | None

  def describe(self) -> dict[str, Any]:
    """Returns what tells this source from another, JSON-like."""
    return {
      split.name: {"size": split.size, "fingerprint": split.fingerprint}
      for split in (self.train, self.validation, self.test)
      if split
    }


@dataclasses.dataclass(frozen=True)
class Data:
  """What names a data set of sentence pairs.

  Attributes:
    name: "cldr", "text_files" or the name of a TFDS data set.
    languages: Codes of the source and of the target language.
    splits: Names of TFDS's splits by those of SPLITS; "test" may be None.
    text_files: Paths of the source and the target of each of SPLITS, None for
      paths that are not given. Given files are read whatever `name` is.
    validation_fraction: The part of the training files to hold out as the
      validation split, where that has no files; or None.
    split_seed: Decides which part is held out.
  """

  name: str
  languages: tuple[str, str]
  splits: Mapping[str, str | None]
  text_files: Mapping[str, tuple[str | None, str | None]]
  validation_fraction: float | None = None
  split_seed: int = 0


def load(data: Data, data_dir: str | None) -> Source:
  """Returns the source that `data` names.

  Args:
    data: Which data set; see docs/translation_data.md.
    data_dir: TFDS's data_dir (None for its default), or the directory that
      paths of text files start from.

  Raises:
    UserError: if there is no such data, or if it is not aligned text.
  """
  if data.name == "text_files" or any(map(any, data.text_files.values())):
    return _text_files(data, data_dir)
  if data.validation_fraction:
    raise UserError(
      f"data.validation_fraction={data.validation_fraction} goes with text "
      f"files, and data.name={data.name!r} has a validation set of its own: "
      "leave it out."
    )
  if data.name == "cldr":
    return _cldr(data.languages)
  return _tfds(data, data_dir)


def _cldr(languages):
  if sorted(languages) != sorted(cldr_phrases.LANGUAGES):
    raise UserError(
      "data.name='cldr' has phrases from 'en' to 'de' or the other way round. "
      f"Received: data.source_language={languages[0]!r}, "
      f"data.target_language={languages[1]!r}"
    )
  step = 1 if languages == cldr_phrases.LANGUAGES else -1
  splits = {
    name: [pair[::step] for pair in pairs]
    for name, pairs in cldr_phrases.make_splits().items()
  }
  return Source(
    *(
      Split(name, len(pairs), _fingerprint(pairs), pairs.__iter__)
      for name, pairs in splits.items()
    )
  )


def _text_files(data, data_dir):
  paths = data.text_files

  def split(name):
    missing = [
      f"{name}_{side}" for side, path in zip(SIDES, paths[name]) if not path
    ]
    if name == "test" and len(missing) == 2:
      return None
    if missing:
      raise UserError(
        f"Text files as data need one for data.{missing[0]}: "
        f"--config.data.{missing[0]}=FILE{_HELD_OUT * (name == SPLITS[1])}"
      )
    source, target = (
      os.path.join(data_dir or "", files.expand(path)) for path in paths[name]
    )
    contents = check_aligned(source, target)

    def read():
      return zip(text_files.read_lines(source), text_files.read_lines(target))

    return Split(name, contents.size, contents.fingerprint, read)

  train = split("train")
  if data.validation_fraction and not any(paths["validation"]):
    train, validation = _hold_out(train, data)
  else:
    validation = split("validation")
  return Source(train, validation, split("test"))


def _hold_out(split, data):
  """Returns the pairs of a split to train on, and the pairs that are held out.

  The source sentence and a seed decide, so that pairs with the same source
  sentence stay together, whatever else the files hold.
  """
  limit = int(data.validation_fraction * 2**64)

  def is_held_out(pair):
    text = f"{data.split_seed} {pair[0]}"
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:8], "big") < limit

  def part(name, wanted):
    def read():
      return (pair for pair in split.read() if is_held_out(pair) == wanted)

    size, fingerprint = 0, hashlib.sha256()
    for pair in read():
      size += 1
      fingerprint.update("".join(f"{side}\n" for side in pair).encode())
    if not size:
      raise UserError(_why_none(split, name, data))
    return Split(name, size, fingerprint.hexdigest(), read)

  return part("train", False), part("validation", True)


def _why_none(split, name, data):
  """Returns why a part that would be held out of a split has no pairs."""
  fraction = f"data.validation_fraction={data.validation_fraction}"
  none = f"{fraction} leaves none of the {split.size:,} pairs for the {name} "
  sources = {source for source, _ in split.read()}
  if len(sources) == split.size:
    return f"{none}split."
  if len(sources) > 1:
    return (
      f"{none}split: all pairs with one source sentence go to one split, and "
      f"there are {len(sources):,} different source sentences."
    )
  (source,) = sources
  lines = "blank" if not source else f"the same, {source!r}"
  return (
    f"{fraction} holds out pairs by their source sentences, and all "
    f"{split.size:,} lines of {data.text_files['train'][0]} are {lines}: "
    "data.train_source must have different sentences."
  )


def _tfds(data, data_dir):
  builder = tfds_data.load(
    data.name, data_dir, other_names=("cldr", "text_files")
  )
  languages = _check_languages(data, builder)

  def split(name):
    part = data.splits[name]
    if name == "test" and not part:
      return None
    info = tfds_data.split(builder, f"data.{name}_split", part)

    def read():
      return _read_tfds(builder, part, languages)

    # To read all of a large data set takes minutes. The sizes of its files and
    # its first pairs tell it from another.
    described_files = [
      [os.path.basename(f.filename), tf.io.gfile.stat(f.filename).length]
      for f in info.file_instructions
    ]
    beginning = list(itertools.islice(read(), 1000))
    described = [
      builder.info.full_name,
      part,
      languages,
      described_files,
      beginning,
    ]
    return Split(name, info.num_examples, _fingerprint(described), read)

  return Source(*map(split, SPLITS))


def _check_languages(data, builder):
  """Returns the languages of source and target, which the data set has."""
  languages = data.languages
  texts = [
    key
    for key, feature in builder.info.features.items()
    if isinstance(feature, tfds.features.Text)
  ]
  for field, language in zip(("source_language", "target_language"), languages):
    if language not in texts:
      raise UserError(
        f"data.{field}={language!r} is none of the languages of "
        f"{data.name}, which are {texts}."
      )
  if len(set(languages)) == 1:
    raise UserError(
      "data.source_language and data.target_language must differ, but are both "
      f"{languages[0]!r}."
    )
  return languages


def _read_tfds(builder, split, languages):
  try:
    examples = tfds_data.examples(builder, split)
    for batch in prefetch(examples.batch(1024)).as_numpy_iterator():
      columns = ([t.decode().strip() for t in batch[k]] for k in languages)
      yield from zip(*columns)
  except (tf.errors.OpError, UnicodeDecodeError) as error:
    raise UserError(
      f"{builder.info.full_name} cannot be read: {first_line(error)}"
    ) from error


def _fingerprint(content):
  return hashlib.sha256(json.dumps(content).encode()).hexdigest()


@dataclasses.dataclass(frozen=True)
class Contents:
  """Contents of a pair of files.

  Attributes:
    size: Number of lines in each file.
    fingerprint: Differs for other text.
  """

  size: int
  fingerprint: str


def check_aligned(source: str, target: str) -> Contents:
  """Reads two files to their ends to see whether they are aligned text.

  Raises:
    UserError: if a file is not there, cannot be read, is empty or is not UTF-8,
      or if they differ in their number of lines.
  """
  fingerprint = hashlib.sha256()
  counts = [0, 0]
  pairs = itertools.zip_longest(
    text_files.read_lines(source), text_files.read_lines(target)
  )
  for lines in pairs:
    for i, line in enumerate(lines):
      if line is not None:
        counts[i] += 1
        fingerprint.update(line.encode() + b"\n")
  for path, count in zip((source, target), counts):
    if not count:
      raise UserError(f"{path} is empty.")
  if counts[0] != counts[1]:
    raise UserError(
      f"{source} and {target} are not aligned: they have {counts[0]:,} and "
      f"{counts[1]:,} lines, where line by line one must be the translation of "
      "the other. (Only \\n and \\r\\n end a line.)"
    )
  return Contents(counts[0], fingerprint.hexdigest())
