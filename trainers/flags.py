"""The command line that all trainers share."""

import sys
from collections.abc import Callable, Sequence

import ml_collections
import tensorflow as tf
from absl import app, flags, logging
from ml_collections import config_flags

from trainers import distribution, tpu_chips
from trainers.errors import UserError, describe_config_error

Train = Callable[
  [ml_collections.ConfigDict, str, str | None, tf.distribute.Strategy], None
]
CompileForTpu = Callable[
  [ml_collections.ConfigDict, str | None, Sequence[str]], int
]

_CONFIG = config_flags.DEFINE_config_file(
  "config",
  help_string="Experiment to run, a file such as configs/NAME.py. Its fields "
  "are overridden as in --config.num_epochs=3.",
  lock_config=True,
)
_WORKDIR = flags.DEFINE_string(
  "workdir",
  None,
  "Directory of this run: config, metrics, checkpoints and the final model. "
  "The same command on the same directory resumes.",
)
_DATA_DIR = flags.DEFINE_string(
  "data_dir", None, "Where the data is: a TFDS data_dir, or a folder of images."
)
_STRATEGY = flags.DEFINE_enum(
  "strategy",
  "auto",
  distribution.STRATEGIES,
  "How to use the devices: one_device, or mirrored for all GPUs (all logical "
  "CPUs where there is no GPU). auto is mirrored where there are several GPUs.",
)
_LOGICAL_CPUS = flags.DEFINE_integer(
  "logical_cpus",
  1,
  "Split the CPU into that many devices, to try several replicas on a laptop.",
  lower_bound=1,
)
_TPU_COMPILE_ONLY = flags.DEFINE_list(
  "tpu_compile_only",
  None,
  "Do not train, but compile the training step for these TPU slices, and say "
  f"what it takes of them: one or more of {','.join(tpu_chips.SLICES)}. It "
  "needs no TPU and no --workdir, but the extra tpu-compile.",
)


def run(train: Train, compile_for_tpu: CompileForTpu) -> None:
  """Parses the command line and calls `train`; a UserError exits with status 1.

  Args:
    train: A function of (config, workdir, data_dir, strategy).
    compile_for_tpu: A function of (config, data_dir, names of TPU slices) that
      returns the exit status of --tpu_compile_only.
  """
  flags.mark_flag_as_required("config")
  flags.register_multi_flags_validator(
    ["workdir", "tpu_compile_only"],
    lambda values: values["workdir"] or values["tpu_compile_only"],
    "--workdir must name a directory",
  )

  def main(arguments):
    if len(arguments) > 1:
      raise app.UsageError(
        f"Arguments are given as --name=value. Received: {arguments[1:]}"
      )
    logging.set_verbosity(logging.WARNING)
    try:
      if _TPU_COMPILE_ONLY.value is not None:
        sys.exit(
          compile_for_tpu(
            _CONFIG.value, _DATA_DIR.value, _TPU_COMPILE_ONLY.value
          )
        )
      strategy = distribution.make_strategy(
        _STRATEGY.value, _LOGICAL_CPUS.value
      )
      train(_CONFIG.value, _WORKDIR.value, _DATA_DIR.value, strategy)
    except UserError as error:
      sys.exit(f"Error: {error}")

  app.run(main, flags_parser=_parse)


def _parse(arguments):
  """Parses as absl does, but puts what is wrong with --config in a sentence."""
  try:
    arguments = app.parse_flags_with_usage(arguments)
    _CONFIG.value.is_locked  # noqa: B018 - fails if the file did not load.
    return arguments
  except (AttributeError, KeyError, OSError, TypeError, ValueError) as error:
    sys.exit(f"Error: {describe_config_error(error)}")
