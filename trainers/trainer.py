"""Programs that train: their flags, and what becomes of these.

Each trainer is a `Trainer`, which its `__main__.py` gives to `run`.
"""

import dataclasses
import functools
import sys
from collections.abc import Callable
from typing import Any

import ml_collections
import tensorflow as tf
from absl import flags

from trainers import (
  config_files,
  devices,
  errors,
  experiment,
  files,
  initialization,
)
from trainers import flags as flags_lib
from trainers.devices import Runtime
from trainers.errors import UserError
from trainers.plan import parse_profile_steps
from trainers.tpu import chips, compile_only

# --help lists the flags of the module that runs: those defined here are its.
flags.disclaim_key_flags()


@dataclasses.dataclass(frozen=True)
class Trainer:
  """What a trainer gives to the command line.

  Attributes:
    load: A function of a config and a Runtime; returns the experiment, after
      all checks of the config.
    check_fields: A function of a config; makes those checks of the config that
      need neither data nor devices.
    check: A function of a config and a strategy; makes those checks of the
      config that need no data.
    unpack: A function of a config, a source and a strategy; returns the
      experiment, after all checks of the config.
    source_to_compile: A function of (config, data_dir, fake_data), of a config
      that `check_fields` has passed; returns the source for `unpack` when the
      step is compiled only. Sweeps find by it before the first trial whether
      their data is there.
    train: A function of an experiment and a Runtime.
    make_step: A function of an experiment and a strategy; returns one replica's
      training step and the `tf.TensorSpec`s of its batch.
    batch_field: The field of a config with the size of a global batch.
    unit: What `batch_field` counts.
  """

  load: Callable[[ml_collections.ConfigDict, Runtime], Any]
  check_fields: Callable[[ml_collections.ConfigDict], None]
  check: Callable[[ml_collections.ConfigDict, tf.distribute.Strategy], None]
  unpack: Callable[
    [ml_collections.ConfigDict, Any, tf.distribute.Strategy], Any
  ]
  source_to_compile: Callable[
    [ml_collections.ConfigDict, str | None, bool], Any
  ]
  train: Callable[[Any, Runtime], None]
  make_step: Callable[[Any, tf.distribute.Strategy], tuple[Callable, Any]]
  batch_field: str = "global_batch_size"
  unit: str = "examples"


def run(trainer: Trainer) -> None:
  """Parses the command line of a trainer and trains; see `flags.run`."""
  flags_lib.run(functools.partial(train, trainer), define_flags)


def define_flags(values: flags.FlagValues) -> None:
  """Defines the flags of a trainer, beside `flags.define_devices`."""
  flags_lib.define_config(
    "Experiment to run: a file and words, such as "
    "configs/cifar.py:cifar100,sgd. The word help prints what there is. Fields "
    "are overridden as in --config.num_epochs=3.",
    values,
  )
  flags.register_validator(
    "config",
    lambda config: config is not None,
    "--config must name an experiment, such as configs/digits.py:sgd",
    flag_values=values,
  )
  _define_start(values)
  flags.DEFINE_enum(
    "precision",
    "float32",
    list(devices.PRECISIONS),
    "What to compute in; weights are float32. bfloat16 is for TPUs, GPUs, and "
    "CPUs with avx512_bf16 or amx_bf16; float16 for older GPUs, with a scaled "
    "loss.",
    flag_values=values,
  )
  flags.DEFINE_string(
    "profile_steps",
    None,
    "Write a trace of these steps for TensorBoard, such as 100-110.",
    flag_values=values,
  )
  _define_compile_only(values)


def _define_start(values):
  """Defines the flags of what training starts with: data, weights, a seed."""
  flags_lib.define_path(
    "data_dir",
    "Where the data is: TFDS's data_dir, or the folder of images, TFRecords or "
    "text files.",
    values,
  )
  flags.DEFINE_bool(
    "fake_data",
    False,
    "Make up data of the size of the config's, for benchmarks and for "
    "--tpu_compile_only: nothing is read, and nothing can be learned.",
    flag_values=values,
  )
  flags_lib.define_path(
    "init_from",
    "Directory of another run: start with the weights of its best evaluation.",
    values,
  )
  flags.DEFINE_integer(
    "seed",
    None,
    "Overrides the config's seed.",
    lower_bound=0,
    flag_values=values,
  )


def _define_compile_only(values):
  """Defines --tpu_compile_only, without which --workdir must be given."""
  flags.DEFINE_list(
    "tpu_compile_only",
    None,
    "Do not train, but compile the training step for these TPU slices, and say "
    f"what it takes of them: one or more of {','.join(chips.SLICES)}. It needs "
    "no TPU and no --workdir, but the extra tpu-compile.",
    flag_values=values,
  )
  flags.register_multi_flags_validator(
    ["workdir", "tpu_compile_only"],
    lambda given: given["workdir"] or given["tpu_compile_only"],
    "--workdir must name a directory",
    flag_values=values,
  )


def train(trainer: Trainer, values: flags.FlagValues) -> None:
  """Trains as the flags say, or compiles for --tpu_compile_only and exits.

  Args:
    trainer: What to train with.
    values: Parsed flags of `flags.define_devices` and `define_flags`.

  Raises:
    UserError: for what the user can put right.
    Interrupted: after a SIGTERM.
    KeyboardInterrupt: after a Ctrl-C.
  """
  if values.fake_data and values.data_dir:
    raise UserError(
      f"--fake_data reads nothing: leave out --data_dir={values.data_dir}."
    )
  with config_files.explaining_missing_fields():
    _train(trainer, values)


def _train(trainer, values):
  config = values.config
  if values.seed is not None:
    config.seed = values.seed
  trainer.check_fields(config)  # Before a TPU node is reset.
  if values.tpu_compile_only is not None:
    devices.set_precision(values.precision)
    sys.exit(_compile(trainer, config, values))
  profile_steps = parse_profile_steps(values.profile_steps)
  files.check_no_pattern(init_from=values.init_from)
  devices.check_paths(values.tpu, init_from=values.init_from)
  initialization.check(values.workdir, values.init_from)
  runtime = dataclasses.replace(
    flags_lib.make_runtime(values),
    data_dir=values.data_dir,
    profile_steps=profile_steps,
    fake_data=values.fake_data,
    init_from=values.init_from,
  )
  devices.set_precision(values.precision)
  devices.warn_of_slow_precision(runtime.strategy)
  with errors.saying_how_to_go_on():
    trainer.train(trainer.load(config, runtime), runtime)


def _compile(trainer, config, values):
  """Compiles the training step for TPU slices; returns the exit status."""
  source = trainer.source_to_compile(config, values.data_dir, values.fake_data)

  def maker(config):
    return lambda strategy: trainer.make_step(
      trainer.unpack(config, source, strategy), strategy
    )

  has_lookahead = config.lookahead is not None
  return compile_only.report(
    maker(config),
    maker(experiment.without_lookahead(config)) if has_lookahead else None,
    values.tpu_compile_only,
    config[trainer.batch_field],
    trainer.unit,
  )
