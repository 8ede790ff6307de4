"""The programs in experiments/ in this process, as their command lines say."""

import json
import os
import sys
from collections.abc import Callable, Sequence
from unittest import mock

from absl import flags

from experiments import outcomes, results
from experiments.trials import Trial
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


def count_lines(directory: str) -> int:
  """Returns how many lines the metrics.jsonl of a run has; 0 without one."""
  path = os.path.join(directory, "metrics.jsonl")
  if not os.path.exists(path):
    return 0
  with open(path) as file:
    return len(file.readlines())


def fail_second(
  trials: Sequence[Trial], directory: str, **options
) -> list[outcomes.Outcome]:
  """Stands in for `local.run`: the second trial fails, the others finish."""
  del options
  for i, trial in enumerate(trials):
    status = outcomes.FAILED if i == 1 else outcomes.FINISHED
    outcomes.write(trial, directory, status, "No data." * (status == "failed"))
    with open(f"{trial.workdir(directory)}/metrics.jsonl", "w") as file:
      line = {"step": 1, "epoch": 1, "train/loss": 1.0}
      line |= {"eval/loss": 1.0, "eval/accuracy": 0.5}
      file.write(json.dumps(line) + "\n")
  return [outcomes.read(trial, directory) for trial in trials]
