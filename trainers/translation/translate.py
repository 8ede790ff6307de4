r"""Translates a text file with a trained run, a sentence a line.

python -m trainers.translation.translate --workdir=/tmp/phrases \
    --input=FILE --output=FILE
"""

import time

from absl import flags

from trainers import devices, files, text_files
from trainers import flags as flags_lib
from trainers import trained as shared
from trainers.errors import UserError
from trainers.translation import trained
from trainers.translation.translator import Translator


def translate(
  run: devices.Runtime,
  input_path: str,
  output: str,
  *,
  weights: str | None = None,
  beam_size: int | None = None,
) -> None:
  """Translates a text file line by line.

  An empty line stays empty. The output is written whole or not at all.

  Args:
    run: Where the trained run is, and what to use now.
    input_path: Text in UTF-8, a sentence a line, plain or gzip.
    output: The file to write.
    weights: As for `trained.load`.
    beam_size: As for `trained.load`.

  Raises:
    UserError: for what the user can put right.
  """
  output = shared.check_output_file(output, [input_path])
  sentences = list(text_files.read_lines(input_path))
  loaded = trained.load(run, weights, beam_size)
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
    with files.writing(output, resumes=False):
      files.write_whole(output, "".join(f"{line}\n" for line in translations))
    print(
      f"{output}: {len(sentences):,} lines in {seconds:.1f} s, "
      f"{len(sentences) / seconds:,.1f} sentences/s ({loaded.weights})"
    )


def define_flags(values: flags.FlagValues) -> None:
  """Defines the flags of this program."""
  trained.define_flags(values)
  flags_lib.define_path(
    "input", "Text to translate, a sentence a line, in UTF-8.", values
  )


def main(values: flags.FlagValues) -> None:
  """Translates as the flags say."""
  if not values.input or not values.output:
    raise UserError(
      "Translating needs --input=FILE and --output=FILE. Received: "
      f"--input={values.input}, --output={values.output}"
    )
  translate(
    flags_lib.make_runtime(values),
    values.input,
    values.output,
    weights=values.weights,
    beam_size=values.beam_size,
  )


if __name__ == "__main__":
  flags_lib.run(main, define_flags)
