"""Translation of a file: --mode=translate."""

import os
import time

import ml_collections
import tensorflow as tf
from absl import flags

from trainers import errors, paths, runtime
from trainers import workdir as workdir_lib
from trainers.errors import UserError
from trainers.translation import text_files, trained
from trainers.translation.translator import Translator

_INPUT = flags.DEFINE(
  paths.PathParser(),
  "input",
  None,
  "With --mode=translate: text to translate, a sentence a line, in UTF-8.",
)


def translate(
  run: runtime.Runtime, config: ml_collections.ConfigDict | None
) -> None:
  """Translates the file --input line by line into --output.

  A line that is empty stays so. The output is written whole or not at all.

  Args:
    run: Where the trained run is, and what to use now.
    config: That of the command line, which has to be the run's, or None.

  Raises:
    UserError: for what the user can put right.
  """
  if not _INPUT.value:
    raise UserError("--mode=translate needs --input=FILE and --output=FILE.")
  output = trained.output()
  _check_output(output)
  sentences = list(text_files.read_lines(_INPUT.value))
  loaded = trained.load(run, config)
  translator = Translator(
    loaded.model,
    loaded.words,
    loaded.decoding,
    run.strategy,
    jit_compile=loaded.jit_compile,
    is_chief=run.is_chief,
  )
  started = time.perf_counter()
  translations = translator(sentences)
  seconds = time.perf_counter() - started
  if run.is_chief:
    with errors.writing(output, resumes=False):
      workdir_lib.write_whole(
        output, "".join(f"{line}\n" for line in translations)
      )
    print(
      f"{output}: {len(sentences):,} lines in {seconds:.1f} s, "
      f"{len(sentences) / seconds:,.1f} sentences/s ({loaded.weights})"
    )


def _check_output(path):
  directory = os.path.dirname(path) or "."
  if tf.io.gfile.isdir(path) or not tf.io.gfile.isdir(directory):
    raise UserError(
      f"--output={path} must be a file in a directory that is there."
    )
