r"""Prints the perplexity of a text file under a trained run.

python -m trainers.language_modeling.evaluate --workdir=/tmp/pydoc \
    --input=FILE
"""

import json

from absl import flags

from trainers import devices
from trainers import flags as flags_lib
from trainers.errors import UserError
from trainers.language_modeling import sources, train, trained


def evaluate(
  run: devices.Runtime, input_path: str, *, weights: str | None = None
) -> dict[str, float]:
  """Returns the loss, accuracy and perplexity of a text file.

  The file is evaluated as the run's own splits are. The result has the numbers
  of all words and of those that count as `<unk>` too.

  Args:
    run: Where the trained run is, and what to use now.
    input_path: Text in UTF-8, words with spaces between them, plain or gzip.
    weights: As for `trained.load`.

  Raises:
    UserError: for what the user can put right.
  """
  split = sources.read_split(input_path)
  loaded = trained.load(run, weights)
  tokens = loaded.words.encode(split)
  values = train.make_perplexity(
    loaded.model, tokens, loaded.experiment, run.strategy
  )()
  return {
    "words": len(tokens),
    "unknown": loaded.words.count_unknown(tokens),
    "weights": loaded.weights,
    **values,
  }


def define_flags(values: flags.FlagValues) -> None:
  """Defines the flags of this program."""
  trained.define_flags(values)
  flags_lib.define_path("input", "Text to evaluate, in UTF-8.", values)


def main(values: flags.FlagValues) -> None:
  """Evaluates as the flags say."""
  if not values.input:
    raise UserError("Evaluating needs --input=FILE.")
  run = flags_lib.make_runtime(values)
  found = evaluate(run, values.input, weights=values.weights)
  if run.is_chief:
    print(json.dumps({"input": values.input, **found}, indent=2))


if __name__ == "__main__":
  flags_lib.run(main, define_flags)
