r"""Trains with each combination of some fields' values, and maps the scores.

python -m experiments.sweep --workdir=runs/sweep \
    --config=configs/digits.py:sgd --config=configs/digits.py:lookahead \
    --grid=learning_rate.peak=0.03,0.1,0.3 --override=num_epochs=3

The configs and each --grid are an axis; --seeds repeats each combination. The
trials run in processes of this machine, or with --cluster on a Ray cluster. The
work directory keeps each trial, the table results.md, a figure, and the scores
for TensorBoard's HParams; the same command goes on where it stopped. See
docs/sweeps.md.
"""

import functools
import sys

from absl import flags

from experiments import (
  cluster,
  local,
  program,
  results,
  stopping,
  sweep_report,
  trials,
)
from trainers import errors
from trainers import flags as flags_lib
from trainers.errors import UserError

_PROGRAM = "sweep"


def define_flags(values: flags.FlagValues) -> None:
  """Defines the flags of this program, beside `flags.define_devices`."""
  trials.define_flags(values)
  program.define_flags(values, seeds=1)
  flags.DEFINE_multi_string(
    "grid",
    [],
    "FIELD=VALUE,VALUE,...: an axis of the sweep. Give the flag once for each "
    "field.",
    flag_values=values,
  )
  flags.DEFINE_enum(
    "stop_early",
    stopping.NONE,
    stopping.RULES,
    "Rule that stops losing trials early; docs/sweeps.md describes each.",
    flag_values=values,
  )
  cluster.define_flags(values)


def main(values: flags.FlagValues) -> None:
  """Trains as the flags say, then reports; fails if a trial has failed."""
  setup = program.prepare(values)
  resources = cluster.read_resources(values)
  axes = trials.parse_grid(values.grid)
  if not axes and len(values.config) * values.seeds == 1:
    raise UserError(
      "There is nothing to sweep: give --grid=FIELD=VALUE,VALUE,... or several "
      "--config or --seeds."
    )
  todo = trials.make(
    values.trainer, values.config, axes, values.seeds, values.override
  )
  for note in trials.notes(values.config, axes, values.override):
    print(note, file=sys.stderr)
  options = {"setup": setup, "rule": values.stop_early}
  if values.cluster is None:
    run = functools.partial(local.run, processes=values.processes)
  else:
    run = functools.partial(
      cluster.run, address=values.cluster, resources=resources
    )
  with (
    errors.saying_how_to_go_on(),
    results.writing(values.workdir, _PROGRAM) as written,
  ):
    program.claim(values.workdir, values.trainer, [*axes])
    found = run(todo, values.workdir, **options)
    sweep_report.write(found, values.workdir, written)
  program.check_none_failed(found)


if __name__ == "__main__":
  flags_lib.run(main, define_flags)
