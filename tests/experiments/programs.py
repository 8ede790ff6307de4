"""The programs in experiments/ in this process, as their command lines say."""

import sys
from collections.abc import Callable
from unittest import mock

from absl import flags

from experiments import results
from trainers import flags as flags_lib


def run(
  main: Callable[[flags.FlagValues], None],
  arguments: list[str],
  *define: flags_lib.Define,
  is_random: bool = True,
) -> None:
  """Runs an experiment: raises a SystemExit where the program would end.

  Args:
    main: Of the program.
    arguments: The command line, without the program's name.
    *define: Functions that define flags, beside those of `results.run`.
    is_random: As for `results.run`.
  """
  values = flags.FlagValues()
  first = results.define_flags if is_random else results.define_workdir
  for one in (first, *define):
    one(values)
  argv = ["program", *arguments]
  with mock.patch.object(sys, "argv", argv):
    flags_lib.call(main, flags_lib.parse(argv, values), values)
