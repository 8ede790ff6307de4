"""Where pairs of sentences come from."""

import dataclasses
import hashlib
import itertools
import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import ml_collections
import tensorflow as tf
import tensorflow_datasets as tfds

from trainers import paths, tfds_builders
from trainers.errors import UserError, first_line
from trainers.translation import cldr_phrases, text_files

Pair = tuple[str, str]
_SPLITS = ("train", "validation", "test")
_SIDES = ("source", "target")


@dataclasses.dataclass(frozen=True)
class Split:
  """One part of a data set of sentence pairs.

  Attributes:
    name: "train", "validation" or "test".
    size: Number of pairs.
    fingerprint: Tells its text from another.
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


def load(config: ml_collections.ConfigDict, data_dir: str | None) -> Source:
  """Returns the source that `config`, a config's `data`, names.

  Files that are given are what is meant, whatever its `name` is.

  Args:
    config: Fields `name` ("cldr", "text_files" or the name of a TFDS data set),
      languages, splits and files; see docs/translation_data.md.
    data_dir: TFDS's data_dir (None for its default), or the directory that
      paths of text files start from.

  Raises:
    UserError: if there is no such data, or if it is not aligned text.
  """
  files = [f"{name}_{side}" for name in _SPLITS for side in _SIDES]
  if config.name == "text_files" or any(config[field] for field in files):
    return _text_files(config, data_dir)
  if config.name == "cldr":
    return _cldr(config)
  return _tfds(config, data_dir)


def _cldr(config):
  languages = (config.source_language, config.target_language)
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


def _text_files(config, data_dir):
  def split(name):
    fields = [f"{name}_{side}" for side in _SIDES]
    missing = [field for field in fields if not config[field]]
    if name == "test" and len(missing) == 2:
      return None
    if missing:
      raise UserError(
        f"Text files as data need one for data.{missing[0]} too: "
        f"--config.data.{missing[0]}=FILE"
      )
    source, target = (
      os.path.join(data_dir or "", paths.expand(config[f])) for f in fields
    )
    contents = text_files.check(source, target)

    def read():
      return zip(text_files.read_lines(source), text_files.read_lines(target))

    return Split(name, contents.size, contents.fingerprint, read)

  return Source(*map(split, _SPLITS))


def _tfds(config, data_dir):
  builder = tfds_builders.load(
    config.name, data_dir, other_names=("cldr", "text_files")
  )
  languages = _languages(config, builder)

  def split(name):
    part = config[f"{name}_split"]
    if name == "test" and not part:
      return None
    info = tfds_builders.split(builder, f"data.{name}_split", part)

    def read():
      return _read_tfds(builder, part, languages)

    # All of a large data set takes minutes, and is told by its files' sizes.
    files = [
      [os.path.basename(f.filename), tf.io.gfile.stat(f.filename).length]
      for f in info.file_instructions
    ]
    beginning = list(itertools.islice(read(), 1000))
    described = [builder.info.full_name, part, languages, files, beginning]
    return Split(name, info.num_examples, _fingerprint(described), read)

  return Source(*map(split, _SPLITS))


def _languages(config, builder):
  """Returns the languages of source and target, which the data set has."""
  languages = (config.source_language, config.target_language)
  texts = [
    key
    for key, feature in builder.info.features.items()
    if isinstance(feature, tfds.features.Text)
  ]
  for field, language in zip(("source_language", "target_language"), languages):
    if language not in texts:
      raise UserError(
        f"data.{field}={language!r} is none of the languages of "
        f"{config.name}, which are {texts}."
      )
  if len(set(languages)) == 1:
    raise UserError(
      "data.source_language and data.target_language must differ, but are both "
      f"{languages[0]!r}."
    )
  return languages


def _read_tfds(builder, split, languages):
  try:
    examples = tfds_builders.examples(builder, split)
    for batch in examples.batch(1024).prefetch(2).as_numpy_iterator():
      columns = ([t.decode().strip() for t in batch[k]] for k in languages)
      yield from zip(*columns)
  except (tf.errors.OpError, UnicodeDecodeError) as error:
    raise UserError(
      f"{builder.info.full_name} cannot be read: {first_line(error)}"
    ) from error


def _fingerprint(content):
  return hashlib.sha256(json.dumps(content).encode()).hexdigest()
