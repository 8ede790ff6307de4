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
import os
import sys

import tensorflow as tf
from absl import flags

from experiments import (
  cluster,
  local,
  outcomes,
  progress,
  results,
  stopping,
  sweep_report,
  trials,
)
from trainers import errors, files, workdir
from trainers import flags as flags_lib
from trainers.errors import UserError

_PROGRAM = "sweep"
# Of one machine. Trials of several machines each are not swept.
_STRATEGIES = ("auto", "one_device", "mirrored")


def define_flags(values: flags.FlagValues) -> None:
  """Defines the flags of this program, beside `flags.define_devices`."""
  trials.define_flags(values)
  results.require_workdir(values)
  flags.DEFINE_multi_string(
    "grid",
    [],
    "FIELD=VALUE,VALUE,...: an axis of the sweep. Give the flag once for each "
    "field.",
    flag_values=values,
  )
  flags.DEFINE_integer(
    "seeds",
    1,
    "Runs of each combination, with seeds 0, 1, ...",
    lower_bound=1,
    flag_values=values,
  )
  flags.DEFINE_enum(
    "stop_early",
    stopping.NONE,
    stopping.RULES,
    "Rule that stops losing trials early; docs/sweeps.md describes each.",
    flag_values=values,
  )
  flags.DEFINE_integer(
    "processes",
    None,
    "Trials at a time on this machine; by default one for each GPU, or for "
    "each processor where there is no GPU.",
    lower_bound=1,
    flag_values=values,
  )
  cluster.define_flags(values)


def main(values: flags.FlagValues) -> None:
  """Trains as the flags say, then reports; fails if a trial has failed."""
  files.check_no_pattern(workdir=values.workdir)
  setup = make_setup(values)
  resources = cluster.read_resources(values)
  # The trials have the GPUs, and this process checks and reports alone.
  tf.config.set_visible_devices([], "GPU")
  axes = trials.parse_grid(values.grid)
  if not axes and len(values.config) * values.seeds == 1:
    raise UserError(
      "There is nothing to sweep: give --grid=FIELD=VALUE,VALUE,... or several "
      "--config or --seeds."
    )
  for reference in values.config:
    for note in trials.load_config(reference, values.override)[1]:
      print(note, file=sys.stderr)
  todo = trials.make(
    values.trainer, values.config, axes, values.seeds, values.override
  )
  options = {"setup": setup, "rule": values.stop_early}
  if values.cluster is None:
    run = functools.partial(local.run, processes=values.processes)
  else:
    run = functools.partial(
      cluster.run, address=values.cluster, resources=resources
    )
  check_workdir(values.workdir)
  with (
    errors.saying_how_to_go_on(),
    results.writing(values.workdir, _PROGRAM) as written,
  ):
    workdir.claim(
      values.workdir, sweep={"trainer": values.trainer, "fields": [*axes]}
    )
    found = run(todo, values.workdir, **options)
    sweep_report.write(found, values.workdir, written)
  failed = [one for one in found if one.status == outcomes.FAILED]
  if failed:
    raise UserError(
      "\n".join(
        [
          f"{len(failed)} of {len(found)} trials failed. The same command "
          "tries them again.",
          *map(progress.describe_failure, failed),
        ]
      )
    )


def make_setup(values: flags.FlagValues) -> outcomes.Setup:
  """Returns how each process trains, as the flags say.

  Raises:
    UserError: for a strategy of several machines.
  """
  if values.tpu or values.strategy not in _STRATEGIES:
    given = (
      f"--tpu={values.tpu}" if values.tpu else f"--strategy={values.strategy}"
    )
    raise UserError(
      f"A sweep trains each trial on one machine: --strategy must be one of "
      f"{', '.join(_STRATEGIES)}. Received: {given}"
    )
  return outcomes.Setup(
    strategy=values.strategy,
    logical_cpus=values.logical_cpus,
    deterministic=values.deterministic,
    data_dir=values.data_dir and os.path.abspath(values.data_dir),
  )


def check_workdir(directory: str) -> None:
  """Raises a UserError if a directory is that of a run of a trainer."""
  if workdir.read(directory, "config") is not None:
    raise UserError(
      f"--workdir={directory} holds a run of a trainer: give a sweep a "
      "directory of its own."
    )


if __name__ == "__main__":
  flags_lib.run(main, define_flags)
