"""Command lines: the flags that programs share, and how a program runs.

Flags are defined by functions of a `FlagValues`, so that a program has the
flags that it uses and no others, and so that tests can parse command lines
in-process.
"""

import argparse
import dataclasses
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ml_collections
import tensorflow as tf
from absl import app, flags, logging
from ml_collections import config_dict, config_flags

from trainers import devices, errors, experiment, files, profiling
from trainers.devices import Runtime
from trainers.errors import UserError
from trainers.tpu import chips, compile_only

Define = Callable[[flags.FlagValues], None]

# --help lists the flags of the module that runs: those defined here are its.
flags.disclaim_key_flags()

NONE = ("None", "none")  # What an override says to unset a field.
_NONE_AS_TUPLE = ((None,), ("none",))  # What the parser of tuples makes of it.


@dataclasses.dataclass(frozen=True)
class Trainer:
  """What a trainer gives to the command line.

  Attributes:
    load: A function of a config and a Runtime; returns the experiment, after
      all checks of the config.
    unpack: A function of a config, a source and a strategy; likewise.
    source_to_compile: A function of (config, data_dir, fake_data); returns the
      source for `unpack` when the step is compiled only.
    train: A function of an experiment and a Runtime.
    make_step: A function of an experiment and a strategy; returns one replica's
      training step and the `tf.TensorSpec`s of its batch.
    batch_field: The field of a config with the size of a global batch.
    unit: What that field counts.
  """

  load: Callable[[ml_collections.ConfigDict, Runtime], Any]
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


class PathParser(flags.ArgumentParser):
  """Parses the value of a flag that is a path: `~` is the home directory."""

  def parse(self, argument: str) -> str:
    """Returns the path."""
    return files.expand(argument)

  def flag_type(self) -> str:
    """Returns what --help says of the value."""
    return "path"


def define_path(
  name: str, help_text: str, values: flags.FlagValues
) -> flags.FlagHolder:
  """Defines a flag whose value is a path or None."""
  return flags.DEFINE(PathParser(), name, None, help_text, flag_values=values)


def define_devices(values: flags.FlagValues) -> None:
  """Defines --workdir, and the flags that say which devices to use how."""
  define_path(
    "workdir",
    "Directory of the run: config, metrics, checkpoints and the final model. "
    "The same command on the same directory resumes.",
    values,
  )
  flags.DEFINE_enum(
    "strategy",
    "auto",
    devices.STRATEGIES,
    "How to use the devices: one_device; mirrored for all GPUs (all logical "
    "CPUs where there is no GPU); multi_worker for the processes that "
    "TF_CONFIG names; tpu for the node that --tpu names. auto is tpu if --tpu "
    "is given, multi_worker if TF_CONFIG is set, mirrored on several GPUs, and "
    "else one_device.",
    flag_values=values,
  )
  flags.DEFINE_integer(
    "logical_cpus",
    1,
    "Split the CPU into so many devices, to try several replicas on a laptop.",
    lower_bound=1,
    flag_values=values,
  )
  flags.DEFINE_string(
    "tpu",
    None,
    "local on a TPU VM, or the name of a TPU node or pod slice.",
    flag_values=values,
  )
  flags.DEFINE_string(
    "tpu_zone",
    None,
    "Google Cloud zone of a TPU node that is named.",
    flag_values=values,
  )
  flags.DEFINE_string(
    "gcp_project",
    None,
    "Google Cloud project of a TPU node that is named.",
    flag_values=values,
  )
  flags.DEFINE_bool(
    "deterministic",
    False,
    "Use operations only that give the same bits each time: then a run that "
    "was killed and resumed ends in the weights of one that was not.",
    flag_values=values,
  )


def define_training(values: flags.FlagValues) -> None:
  """Defines the flags of a program that trains, beside `define_devices`."""
  _register_parsers()
  config_flags.DEFINE_config_file(
    "config",
    help_string="Experiment to run: a file and words, such as "
    "configs/cifar.py:cifar100,sgd. The word help prints what there is. Fields "
    "are overridden as in --config.num_epochs=3.",
    lock_config=True,
    flag_values=values,
  )
  flags.mark_flag_as_required("config", values)
  define_path(
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
  flags.DEFINE_enum(
    "precision",
    "float32",
    list(devices.PRECISIONS),
    "What to compute in; weights are float32. bfloat16 is for TPUs and GPUs, "
    "float16 for older GPUs, with a scaled loss.",
    flag_values=values,
  )
  flags.DEFINE_integer(
    "seed",
    None,
    "Overrides the config's seed.",
    lower_bound=0,
    flag_values=values,
  )
  flags.DEFINE_string(
    "profile_steps",
    None,
    "Write a trace of these steps for TensorBoard, such as 100-110.",
    flag_values=values,
  )
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


def run(main: Callable[[flags.FlagValues], None], *define: Define) -> None:
  """Parses the command line of a program and calls `main`.

  A UserError exits with status 1; a SIGTERM, after a checkpoint, and the loss
  of another host exit with errors.EXIT_STATUS. A Ctrl-C ends the program as if
  SIGINT had no handler, while it trains after a checkpoint.

  Args:
    main: A function of the parsed flags.
    *define: Functions that define flags, beside `define_devices`.
  """
  for one in (define_devices, *define):
    one(flags.FLAGS)
  devices.look_for_gpus()
  app.run(
    lambda rest: call(main, rest, flags.FLAGS),
    flags_parser=lambda arguments: parse(arguments, flags.FLAGS),
  )


def parse(arguments: Sequence[str], values: flags.FlagValues) -> list[str]:
  """Parses a command line; a mistake ends the program with one sentence.

  Args:
    arguments: The command line, with the program's name.
    values: Where the flags are defined, and their values go.

  Returns:
    What is not a flag: the program's name, and whatever follows the flags.
  """
  try:
    rest = values(arguments)
    if "config" in values and values.config is not None:
      values.config.is_locked  # noqa: B018 - fails if the file did not load.
      overrides = config_flags.get_override_values(values["config"])
      resolve_none(values.config, overrides)
    return rest
  except flags.Error as error:
    sys.exit(f"Error: {error} (--help lists the flags.)")
  except argparse.ArgumentTypeError as error:  # Of configs/words.py.
    sys.exit(f"Error: --config: {error}")
  except UserError as error:
    sys.exit(f"Error: {error}")
  except (AttributeError, KeyError, OSError, TypeError, ValueError) as error:
    sys.exit(f"Error: {describe_config_error(error)}")


def call(
  main: Callable[[flags.FlagValues], None],
  rest: Sequence[str],
  values: flags.FlagValues,
) -> None:
  """Calls `main` with parsed flags; see `run`.

  Args:
    main: A function of the flags.
    rest: What `parse` returned.
    values: The parsed flags.
  """
  logging.set_verbosity(logging.WARNING)
  with errors.ending_the_program():
    if len(rest) > 1:
      raise UserError(
        f"Arguments are given as --name=value. Received: {list(rest[1:])}"
      )
    main(values)


def train(trainer: Trainer, values: flags.FlagValues) -> None:
  """Trains as the flags say, or compiles for --tpu_compile_only and exits.

  Args:
    trainer: What to train with.
    values: Parsed flags of `define_devices` and `define_training`.

  Raises:
    UserError: for what the user can put right.
    Interrupted: after a SIGTERM.
    KeyboardInterrupt: after a Ctrl-C.
  """
  if values.fake_data and values.data_dir:
    raise UserError(
      f"--fake_data reads nothing: leave out --data_dir={values.data_dir}."
    )
  config = values.config
  if values.seed is not None:
    config.seed = values.seed
  if values.tpu_compile_only is not None:
    devices.set_precision(values.precision)
    sys.exit(_compile(trainer, config, values))
  profile_steps = profiling.parse_steps(values.profile_steps)
  runtime = dataclasses.replace(
    make_runtime(values),
    data_dir=values.data_dir,
    profile_steps=profile_steps,
    fake_data=values.fake_data,
  )
  devices.set_precision(values.precision)
  with errors.saying_how_to_go_on():
    trainer.train(trainer.load(config, runtime), runtime)


def make_runtime(values: flags.FlagValues) -> Runtime:
  """Returns the Runtime that the flags of `define_devices` describe.

  Call it first of all: TensorFlow must not have used its devices before.

  Raises:
    UserError: if the devices cannot be had, or for a path that cannot be used.
  """
  files.check_no_pattern(workdir=values.workdir)
  data_dir = values.data_dir if "data_dir" in values else None
  devices.check_paths(values.tpu, workdir=values.workdir, data_dir=data_dir)
  strategy = devices.make_strategy(
    values.strategy,
    values.logical_cpus,
    values.tpu,
    values.tpu_zone,
    values.gcp_project,
  )
  if values.deterministic:
    tf.config.experimental.enable_op_determinism()
  return Runtime(strategy=strategy, workdir=values.workdir)


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


def describe_config_error(error: Exception) -> str:
  """Returns in a sentence what ml_collections says of a wrong override."""
  message = " ".join(str(error).replace("\\n", " ").split())
  misspelt = re.fullmatch(
    r"""["']*(?:\\')?(\w+)(?:\\')?["']*( Did .*)?""", message
  )
  if misspelt:
    suggestion = (misspelt[2] or "").rstrip("'")
    return f"the config has no field {misspelt[1]!r}.{suggestion}"
  missing = re.search(
    r"Failed loading config file.*directory: '(.*?)'", message
  )
  if missing:
    return (
      f"--config: there is no file {missing[1]}. Give a file and words, such "
      "as configs/digits.py:sgd"
    )
  # Some errors go on with the whole config.
  return f"an override does not fit the config: {message[:300]}"


class _OrNone(flags.ArgumentParser):
  """Parses None too, which `resolve_none` then allows or not.

  ml_collections has no way to unset a number.

  Args:
    parser: Parses the other values.
  """

  def __init__(self, parser: flags.ArgumentParser):
    super().__init__()
    self._parser = parser
    self.syntactic_help = parser.syntactic_help

  def parse(self, argument: Any) -> Any:
    """Returns the value."""
    return None if argument in NONE else self._parser.parse(argument)

  def flag_type(self) -> str:
    """Returns what --help says of the value."""
    return self._parser.flag_type()


def _register_parsers():
  """Lets overrides of a config have None for a number or a truth value."""
  for kind, parser in (
    (bool, flags.BooleanParser()),
    (float, flags.FloatParser()),
    (int, flags.IntegerParser()),
  ):
    config_flags.register_flag_parser_for_type(kind, _OrNone(parser))


def resolve_none(
  config: ml_collections.ConfigDict, overrides: Mapping[str, Any]
) -> None:
  """Unsets the optional fields of which an override says None, or "none".

  ml_collections takes the None of --config.data.test_split=None for a text. A
  field is optional if the config has it as a `config_dict.placeholder`. The
  text of any other field may be "None".

  Args:
    config: With the overrides in it; changed in place.
    overrides: Values by field, such as "data.test_split".

  Raises:
    UserError: if a field that is not optional would be without a value.
  """
  for field, value in overrides.items():
    if not (value is None or value in (*NONE, *_NONE_AS_TUPLE)):
      continue
    *path, name = field.split(".")
    holder = config
    for part in path:
      holder = holder[part]
    fields = dict(holder.items(preserve_field_references=True))
    if isinstance(fields[name], config_dict.FieldReference):
      holder[name] = None
    elif not isinstance(value, str):
      raise UserError(f"{field} must have a value. Received: None")
