"""The experiments that the files in configs/ take, and their tables."""

import importlib
import itertools
import os
import re
import types

import ml_collections

from configs import words

DIRECTORY = os.path.join(
  os.path.dirname(os.path.dirname(os.path.dirname(__file__))), "configs"
)
IMAGES = ("cifar", "digits", "image_folder", "imagenet")
LANGUAGE_MODELS = ("ptb", "pydoc", "wikitext2")
TRANSLATIONS = ("multi30k", "phrases", "text_files", "wmt14")


def module(name: str) -> types.ModuleType:
  """Returns configs/NAME.py as a module."""
  return importlib.import_module(f"configs.{name}")


def get(name: str, text: str) -> ml_collections.ConfigDict:
  """Returns the config of configs/NAME.py:TEXT."""
  return module(name).get_config(text)


def combinations(taken: words.Words) -> list[str]:
  """Returns all texts of words that a file takes, each with all its words."""
  groups = [
    *taken.one_of,
    *(("", word) for word in taken.any_of),
  ]
  texts = []
  for parts in itertools.product(*groups):
    text = ",".join(part for part in parts if part)
    if not any({*pair} <= {*text.split(",")} for pair in taken.exclude):
      texts.append(text)
  return texts


def all_of(*names: str) -> list[tuple[str, str]]:
  """Returns (name, text) of all combinations of these files."""
  return [
    (name, text) for name in names for text in combinations(module(name).WORDS)
  ]


def table(name: str) -> list[dict[str, str]]:
  """Returns the rows of the table of experiments in a file's docstring.

  The table begins with a line of titles, the first of which is "words", and a
  line of dashes that says where columns are. A row may go on in lines that have
  nothing in the first column.
  """
  lines = module(name).__doc__.splitlines()
  start = next(
    i
    for i, line in enumerate(lines)
    if line.startswith("words ") and re.fullmatch("[- ]+", lines[i + 1])
  )
  starts = [found.start() for found in re.finditer("-+", lines[start + 1])]

  def cells(line):
    return [
      line[i:j].strip() for i, j in zip(starts, [*starts[1:], len(line) + 1])
    ]

  titles = cells(lines[start])
  rows = []
  for line in itertools.takewhile(str.strip, lines[start + 2 :]):
    row = cells(line)
    if row[0]:
      rows.append(dict(zip(titles, row)))
    else:
      for title, cell in zip(titles, row):
        rows[-1][title] = f"{rows[-1][title]} {cell}".strip()
  return rows


def in_tables(*names: str) -> list[tuple[str, str]]:
  """Returns (name, text) of all rows of the tables of these files."""
  return [(name, row["words"]) for name in names for row in table(name)]
