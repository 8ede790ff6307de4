"""Config files: a file and words make a config.

A mistake is a UserError that names what was typed.
"""

import argparse
import contextlib
import difflib
import inspect
import os
import pathlib
import re
import runpy
import traceback
from collections.abc import Iterator

import ml_collections

from trainers import files
from trainers.errors import UserError, first_line

_REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
_OWN = "docs/your_own_config.md has an example"


def load(reference: str) -> ml_collections.ConfigDict:
  """Returns the config of a file and words, locked.

  Args:
    reference: A file that defines `get_config`, and words for that function:
      "configs/cifar.py:cifar100,sgd". `~` is the home directory.

  Raises:
    UserError: if there is no such file or word, or if the file makes no config.
  """
  path, colon, words = reference.partition(":")
  path = files.expand(path)
  if not os.path.isfile(path):
    raise UserError(_describe_missing_file(path))
  with _explaining_file(path, reference):
    get_config = runpy.run_path(path).get("get_config")
  if not callable(get_config):
    raise UserError(
      f"--config: {path} has no function get_config, which returns the config "
      f"({_OWN})."
    )
  arguments = [words] if colon else []
  try:
    inspect.signature(get_config).bind(*arguments)
  except TypeError:
    form = f"{path}, without words" if colon else f"{path}:WORDS"
    raise UserError(
      f"--config={reference} does not go with the get_config of that file. "
      f"Give --config={form}."
    ) from None
  with _explaining_file(path, reference):
    config = get_config(*arguments)
  if not isinstance(config, ml_collections.ConfigDict):
    raise UserError(
      f"--config: get_config of {path} must return a ConfigDict ({_OWN}). "
      f"Received: {config!r:.100}"
    )
  return config.lock()


@contextlib.contextmanager
def explaining_missing_fields() -> Iterator[None]:
  """Returns a context manager for whoever reads a config.

  Raises:
    UserError: in place of the AttributeError or KeyError of a ConfigDict that
      lacks a field.
  """
  try:
    yield
  except (AttributeError, KeyError) as error:
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    if not frame.f_globals["__name__"].startswith("ml_collections"):
      raise
    field = re.search(r"""['"](\w+)\\?['"]""", str(error))
    raise UserError(
      f"--config: the config has no field {field[1] if field else error!r}, "
      "which this trainer needs. Is the config another trainer's? One of your "
      f"own begins with the fields of a config in configs/ ({_OWN})."
    ) from error


def _describe_missing_file(path):
  """Returns a sentence on where a file was looked for, and where one is."""
  if os.path.isdir(path):
    return f"--config: {path} is a directory. Give a file in it."
  sentence = f"--config: there is no file {path or '(no name)'}"
  if not os.path.isabs(path):
    sentence += f" in {os.getcwd()}, where the program was started"
  folder, name = os.path.split(path)
  names = os.listdir(folder or ".") if os.path.isdir(folder or ".") else []
  names = [name for name in names if name.endswith(".py")]
  close = difflib.get_close_matches(name, names, 1)
  if close:
    return f"{sentence}. Did you mean {os.path.join(folder, close[0])}?"
  here = _REPOSITORY / path
  if path and here.is_file():
    return f"{sentence}. There is {here}."
  return (
    f"{sentence}. Give a file and words, such as configs/digits.py:sgd; the "
    f"repository's configs are in {_REPOSITORY / 'configs'}."
  )


@contextlib.contextmanager
def _explaining_file(path, reference):
  """Returns a context manager that tells what is wrong with a config file."""
  try:
    yield
  except argparse.ArgumentTypeError as error:  # Of configs/words.py.
    raise UserError(f"--config={reference}: {error}") from error
  except SyntaxError as error:
    line = f", line {error.lineno}" if error.lineno else ""
    raise UserError(
      f"--config: {error.filename or path}{line}: this is not Python "
      f"({error.msg})."
    ) from error
  except UserError:
    raise
  except Exception as error:
    lines = [
      frame.lineno
      for frame in traceback.extract_tb(error.__traceback__)
      if frame.filename == path
    ]
    place = f"{path}, line {lines[-1]}" if lines else path
    raise UserError(f"--config: {place}: {_describe(error)}") from error


def _describe(error):
  """Returns what went wrong in a config file."""
  text = str(error).replace("\\", "")
  missing = re.search(r'Key "(\w+)" does not exist', text)
  if missing:
    close = re.search(r'Did you mean "(\w+)"', text)
    hint = f" Did you mean {close[1]!r}?" if close else ""
    return f"the config has no field {missing[1]!r}.{hint}"
  wrong = re.search(r"Could not override field '(\w+)'", text)
  if wrong:
    return f"the value is not of the kind that field {wrong[1]!r} has."
  return f"{type(error).__name__}: {first_line(error)}"
