"""The command line that all benchmarks share."""

import sys
from collections.abc import Callable

from absl import app, flags

from trainers.errors import UserError
from trainers.flags import describe_config_error

ROUNDS = flags.DEFINE_integer(
  "rounds", 12, "How often each variant is measured.", lower_bound=1
)
PATIENCE = flags.DEFINE_float(
  "patience",
  300.0,
  "Seconds that each case may lose to waiting for a quiet machine.",
  lower_bound=0,
)


def run(main: Callable[[], None]) -> None:
  """Parses the command line and calls `main`.

  A user's mistake ends the program with one sentence: an argument that is no
  flag, an override that does not fit a --config, a `UserError`.
  """

  def checked(arguments):
    if len(arguments) > 1:
      sys.exit(
        "Error: every argument must be a flag, --NAME=VALUE. Received: "
        f"{arguments[1]!r}"
      )
    try:
      main()
    except UserError as error:
      sys.exit(f"Error: {error}")

  app.run(checked, flags_parser=_parse)


def _parse(arguments):
  try:
    arguments = app.parse_flags_with_usage(arguments)
    if "config" in flags.FLAGS and flags.FLAGS.config is not None:
      flags.FLAGS.config.is_locked  # noqa: B018 - fails if it did not load.
    return arguments
  except (AttributeError, KeyError, OSError, TypeError, ValueError) as error:
    sys.exit(f"Error: {describe_config_error(error)}")
