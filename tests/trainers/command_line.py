"""Command lines of the programs in trainers/, mostly in this process.

Another process takes seconds to import TensorFlow. What is asked of this
process is what `flags.run` does: define, parse, call.
"""

import contextlib
import functools
import io
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable, Sequence

import keras
from absl import flags as absl_flags

from trainers import flags
from trainers import trainer as trainer_lib
from trainers.trainer import Trainer

ROOT = pathlib.Path(__file__).parents[2]


def start(
  module: str, *arguments: str, **environment: str
) -> subprocess.CompletedProcess:
  """Runs a program in a process of its own, as a user does, to its end.

  Args:
    module: Of the program, for `python -m`.
    *arguments: The command line.
    **environment: Variables to set.

  Returns:
    The finished process, with its output and its errors as text.
  """
  return subprocess.run(
    [sys.executable, "-m", module, *arguments],
    cwd=ROOT,
    capture_output=True,
    text=True,
    env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
  )


def parse(
  arguments: Sequence[str], *define: flags.Define
) -> tuple[absl_flags.FlagValues, list[str]]:
  """Returns parsed flags, and what is not a flag.

  Args:
    arguments: The command line, without the program's name.
    *define: Functions that define flags, beside `flags.define_devices`.
  """
  values = absl_flags.FlagValues()
  for one in (flags.define_devices, *define):
    one(values)
  return values, flags.parse(["program", *arguments], values)


def run(
  main: Callable[[absl_flags.FlagValues], None],
  arguments: Sequence[str],
  *define: flags.Define,
) -> None:
  """Runs a program: raises a SystemExit where the program would end."""
  policy = keras.config.dtype_policy()
  try:
    values, rest = parse(arguments, *define)
    flags.call(main, rest, values)
  finally:
    keras.config.set_dtype_policy(policy)


def run_trainer(trainer: Trainer, *arguments: str) -> None:
  """Runs the program of a trainer that trains."""
  main = functools.partial(trainer_lib.train, trainer)
  run(main, arguments, trainer_lib.define_flags)


def last_words(program: Callable[[], None]) -> tuple[int, str]:
  """Returns the exit status of a program that ends early, and what it says.

  Args:
    program: Calls `run` or `run_trainer`.
  """
  with contextlib.redirect_stderr(io.StringIO()) as text:
    try:
      program()
    except SystemExit as end:
      if isinstance(end.code, str):  # The interpreter prints it.
        return 1, end.code
      return end.code or 0, text.getvalue()
  raise AssertionError("The program did not end early.")


class Mistakes:
  """A mixin of test cases that make mistakes on command lines."""

  def assertMistake(self, program: Callable[[], None], *words: str) -> None:
    """Asserts that a program ends with one sentence that says all of `words`.

    Args:
      program: Calls `run` or `run_trainer`.
      *words: What the sentence must say.
    """
    status, text = last_words(program)
    self.assertEqual(status, 1)
    self.assertStartsWith(text, "Error: ")
    for word in words:
      self.assertIn(word, text)
    self.assertLen(text.splitlines(), 1)
