"""What the programs that train trials share, beside `trials.define_flags`."""

import os
from collections.abc import Sequence

import tensorflow as tf
from absl import flags

from experiments import outcomes, progress, results
from experiments.outcomes import Outcome, Setup
from trainers import files, workdir
from trainers.errors import UserError

# Of one machine. Trials of several machines each are not trained.
_STRATEGIES = ("auto", "one_device", "mirrored")


def define_flags(values: flags.FlagValues, seeds: int | None = None) -> None:
  """Defines --seeds and --processes, and makes --workdir one to be given.

  Args:
    values: Where to define them.
    seeds: Default of --seeds.
  """
  results.require_workdir(values)
  flags.DEFINE_integer(
    "seeds",
    seeds,
    "Runs of each combination, with seeds 0, 1, ...",
    lower_bound=1,
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


def prepare(values: flags.FlagValues) -> Setup:
  """Returns how each process trains, as the flags say.

  Call the function before TensorFlow is used: the GPUs are left to the trials.

  Raises:
    UserError: for a strategy of several machines, for a --workdir with a
      character that no directory of a run may have, and for a --data_dir that
      does not exist.
  """
  files.check_no_pattern(workdir=values.workdir)
  if values.tpu or values.strategy not in _STRATEGIES:
    given = (
      f"--tpu={values.tpu}" if values.tpu else f"--strategy={values.strategy}"
    )
    raise UserError(
      "Each trial is trained on one machine: --strategy must be one of "
      f"{', '.join(_STRATEGIES)}. Received: {given}"
    )
  data_dir = values.data_dir
  if data_dir and "://" not in data_dir:
    data_dir = os.path.abspath(data_dir)
  if data_dir and not tf.io.gfile.exists(data_dir):
    raise UserError(f"--data_dir={values.data_dir} does not exist.")
  tf.config.set_visible_devices([], "GPU")
  return Setup(
    strategy=values.strategy,
    logical_cpus=values.logical_cpus,
    deterministic=values.deterministic,
    data_dir=data_dir,
  )


def claim(directory: str, trainer: str, fields: Sequence[str]) -> None:
  """Makes a directory that of trials over some fields of a trainer's config.

  Args:
    directory: Of a new sweep, or of the same.
    trainer: A key of `trials.KINDS`.
    fields: Those that differ between trials.

  Raises:
    UserError: if the directory has trials over other fields.
  """
  workdir.claim(directory, sweep={"trainer": trainer, "fields": [*fields]})


def check_none_failed(found: Sequence[Outcome]) -> None:
  """Raises a UserError that tells each reason once, if any trial failed."""
  failed = [one for one in found if one.status == outcomes.FAILED]
  if failed:
    raise UserError(
      "\n".join(
        [
          f"{len(failed)} of {len(found)} trials failed. The same command "
          "tries them again.",
          *map(progress.describe_failures, outcomes.by_reason(failed).values()),
        ]
      )
    )
