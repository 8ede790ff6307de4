"""The command line that all benchmarks share."""

from collections.abc import Callable

from absl import app, flags

from trainers import flags as flags_lib

ROUNDS = flags.DEFINE_integer(
  "rounds", 12, "How often each variant is measured.", lower_bound=1
)
PATIENCE = flags.DEFINE_float(
  "patience",
  300.0,
  "Seconds that each case may lose to waiting for a quiet machine.",
  lower_bound=0,
)


def define_config(help_text: str) -> flags.FlagHolder:
  """Defines --config, whose fields can be overridden as for the trainers."""
  return flags_lib.define_config(help_text, flags.FLAGS)


def run(main: Callable[[], None]) -> None:
  """Parses the command line and calls `main`, as the trainers' programs do.

  A user's mistake ends the program with one sentence: an argument that is no
  flag, an override that does not fit a --config, a `UserError`.
  """
  app.run(
    lambda rest: flags_lib.call(lambda values: main(), rest, flags.FLAGS),
    flags_parser=lambda arguments: flags_lib.parse(arguments, flags.FLAGS),
  )
