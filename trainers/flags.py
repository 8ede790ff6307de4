"""The command line that all trainers share."""

import argparse
import dataclasses
import sys
import types
from collections.abc import Callable, Mapping

import ml_collections
import tensorflow as tf
from absl import app, flags, logging
from ml_collections import config_flags

from trainers import (
  distribution,
  interruption,
  overrides,
  paths,
  profiling,
  tpu_chips,
  tpu_node,
)
from trainers import runtime as runtime_lib
from trainers.errors import UserError, describe_config_error
from trainers.runtime import Runtime

Train = Callable[[ml_collections.ConfigDict, Runtime], None]
UseRun = Callable[[Runtime, ml_collections.ConfigDict | None], None]
CompileForTpu = Callable[..., int]

# Which flags only --mode=train has a use for, of those that all trainers share.
_OF_TRAINING = (
  "data_dir",
  "fake_data",
  "precision",
  "profile_steps",
  "seed",
  "tpu_compile_only",
)


@dataclasses.dataclass(frozen=True)
class Mode:
  """What a trainer does besides training.

  Attributes:
    use: A function of a Runtime and of the config that the command line gave,
      or None: it uses a run in the workdir, which has its config there.
    flags: Names of the flags for it that are not for training.
  """

  use: UseRun
  flags: tuple[str, ...]


overrides.register_parsers()
_CONFIG = config_flags.DEFINE_config_file(
  "config",
  help_string="Experiment to run: a file and words, such as "
  "configs/cifar.py:cifar100,sgd. The word help prints what there is. Its "
  "fields are overridden as in --config.num_epochs=3.",
  lock_config=True,
)
_WORKDIR = flags.DEFINE(
  paths.PathParser(),
  "workdir",
  None,
  "Directory of this run: config, metrics, checkpoints and the final model. "
  "The same command on the same directory resumes.",
)
_DATA_DIR = flags.DEFINE(
  paths.PathParser(),
  "data_dir",
  None,
  "Where the data is: a TFDS data_dir, or a folder of images.",
)
_FAKE_DATA = flags.DEFINE_bool(
  "fake_data",
  False,
  "Make up data of the size of the config's, for benchmarks and for "
  "--tpu_compile_only: nothing is read, and nothing can be learned.",
)
_STRATEGY = flags.DEFINE_enum(
  "strategy",
  "auto",
  distribution.STRATEGIES,
  "How to use the devices: one_device; mirrored for all GPUs (all logical CPUs "
  "where there is no GPU); multi_worker for the processes that TF_CONFIG "
  "names; tpu for the node that --tpu names. auto is tpu if --tpu is given, "
  "multi_worker if TF_CONFIG is set, mirrored on several GPUs, and else "
  "one_device.",
)
_LOGICAL_CPUS = flags.DEFINE_integer(
  "logical_cpus",
  1,
  "Split the CPU into that many devices, to try several replicas on a laptop.",
  lower_bound=1,
)
_TPU = flags.DEFINE_string(
  "tpu", None, "local on a TPU VM, or the name of a TPU node or pod slice."
)
_TPU_ZONE = flags.DEFINE_string(
  "tpu_zone", None, "Google Cloud zone of a TPU node that is named."
)
_GCP_PROJECT = flags.DEFINE_string(
  "gcp_project", None, "Google Cloud project of a TPU node that is named."
)
_PRECISION = flags.DEFINE_enum(
  "precision",
  "float32",
  list(runtime_lib.PRECISIONS),
  "What to compute in; weights are float32. bfloat16 is for TPUs and GPUs, "
  "float16 for older GPUs, with a scaled loss.",
)
_SEED = flags.DEFINE_integer(
  "seed", None, "Overrides the config's seed.", lower_bound=0
)
_DETERMINISTIC = flags.DEFINE_bool(
  "deterministic",
  False,
  "Use operations only that give the same bits each time: then a run that was "
  "killed and resumed ends in the weights of one that was not.",
)
_PROFILE_STEPS = flags.DEFINE_string(
  "profile_steps",
  None,
  "Write a trace of these steps for TensorBoard, such as 100-110.",
)
_TPU_COMPILE_ONLY = flags.DEFINE_list(
  "tpu_compile_only",
  None,
  "Do not train, but compile the training step for these TPU slices, and say "
  f"what it takes of them: one or more of {','.join(tpu_chips.SLICES)}. It "
  "needs no TPU and no --workdir, but the extra tpu-compile.",
)


def run(
  train: Train,
  compile_for_tpu: CompileForTpu,
  *,
  modes: Mapping[str, Mode] | None = None,
  has_fake_data: bool = False,
) -> None:
  """Parses the command line and calls `train`, or what --mode says.

  A UserError exits with status 1; a SIGTERM, after a checkpoint, and the loss
  of another host with interruption.EXIT_STATUS.

  Args:
    train: A function of a config and a Runtime.
    compile_for_tpu: A function of (config, data_dir, names of TPU slices) that
      returns the exit status of --tpu_compile_only. With --fake_data it gets
      fake_data=True as well.
    modes: What else the program does, by values of --mode.
    has_fake_data: Whether the trainer can make up data.
  """
  modes = modes or {}
  mode = _define_mode(modes)
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
    with interruption.ending_the_program():
      _check_mode(mode.value, modes)
      fake = _fake_data(has_fake_data)
      if _TPU_COMPILE_ONLY.value is not None:
        runtime_lib.set_precision(_PRECISION.value)
        slices = _TPU_COMPILE_ONLY.value
        sys.exit(
          compile_for_tpu(_CONFIG.value, _DATA_DIR.value, slices, **fake)
        )
      config, runtime = _prepare()
      if mode.value == "train":
        train(config, runtime)
      else:
        modes[mode.value].use(runtime, config)

  app.run(main, flags_parser=_parse)


def _fake_data(has_fake_data):
  """Returns the argument of --fake_data, or nothing if it is not given."""
  if not _FAKE_DATA.value:
    return {}
  if not has_fake_data:
    raise UserError("--fake_data: this trainer cannot make up data.")
  if _DATA_DIR.value:
    raise UserError(
      f"--fake_data reads nothing: leave out --data_dir={_DATA_DIR.value}."
    )
  return {"fake_data": True}


def _define_mode(modes):
  """Defines --mode, without which --config is required."""
  if not modes:
    flags.mark_flag_as_required("config")
    return types.SimpleNamespace(value="train")
  mode = flags.DEFINE_enum(
    "mode",
    "train",
    ["train", *modes],
    "What to do. All but train use the run in --workdir, and its config.",
  )
  flags.register_multi_flags_validator(
    ["config", "mode"],
    lambda values: values["config"] is not None or values["mode"] != "train",
    "--config must name a file",
  )
  return mode


def _check_mode(mode, modes):
  """Refuses the flags that were given and that `mode` has no use for."""
  others = {name for other in modes.values() for name in other.flags}
  if mode == "train":
    useless = others
    reason = "training does without it."
  else:
    useless = {*_OF_TRAINING, *others} - {*modes[mode].flags}
    reason = "it takes that from the run in --workdir, or does without it."
  for name in sorted(useless):
    if flags.FLAGS[name].present:
      raise UserError(f"--{name} is not for --mode={mode}: {reason}")


def _prepare():
  """Returns the config and the Runtime that the flags describe."""
  profile_steps = profiling.parse_steps(_PROFILE_STEPS.value)
  paths.check_no_pattern(workdir=_WORKDIR.value)
  tpu_node.check_paths(
    _TPU.value, workdir=_WORKDIR.value, data_dir=_DATA_DIR.value
  )
  # First of all: TensorFlow must not have used its devices before.
  strategy = distribution.make_strategy(
    _STRATEGY.value,
    _LOGICAL_CPUS.value,
    _TPU.value,
    _TPU_ZONE.value,
    _GCP_PROJECT.value,
  )
  config = _CONFIG.value
  if _SEED.value is not None and config is not None:
    config.seed = _SEED.value
  runtime_lib.set_precision(_PRECISION.value)
  if _DETERMINISTIC.value:
    tf.config.experimental.enable_op_determinism()
  return config, Runtime(
    strategy=strategy,
    workdir=_WORKDIR.value,
    data_dir=_DATA_DIR.value,
    profile_steps=profile_steps,
    fake_data=_FAKE_DATA.value,
  )


def _parse(arguments):
  """Parses as absl does, but puts what is wrong with --config in a sentence."""
  try:
    arguments = app.parse_flags_with_usage(arguments)
    if _CONFIG.value is not None:
      _CONFIG.value.is_locked  # noqa: B018 - fails if the file did not load.
      values = config_flags.get_override_values(flags.FLAGS["config"])
      overrides.resolve_none(_CONFIG.value, values)
    return arguments
  except argparse.ArgumentTypeError as error:  # Of configs/words.py.
    sys.exit(f"Error: --config: {error}")
  except UserError as error:
    sys.exit(f"Error: {error}")
  except (AttributeError, KeyError, OSError, TypeError, ValueError) as error:
    sys.exit(f"Error: {describe_config_error(error)}")
