"""Command lines: the flags that programs share, and how a program runs.

Flags are defined by functions of a `FlagValues`, so that a program has the
flags that it uses and no others, and so that tests can parse command lines
in-process.
"""

import difflib
import re
import sys
from collections.abc import Callable, Sequence

import ml_collections
import tensorflow as tf
from absl import app, flags, logging

from trainers import config_files, devices, errors, files
from trainers import overrides as overrides_lib
from trainers.devices import Runtime
from trainers.errors import UserError

Define = Callable[[flags.FlagValues], None]

# --help lists the flags of the module that runs: those defined here are its.
flags.disclaim_key_flags()


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


class ConfigParser(flags.ArgumentParser):
  """Parses the value of a flag that is a config: a file and words."""

  def parse(self, argument: str) -> ml_collections.ConfigDict:
    """Returns the config."""
    return config_files.load(argument)

  def flag_type(self) -> str:
    """Returns what --help says of the value."""
    return "file:words"


def define_config(help_text: str, values: flags.FlagValues) -> flags.FlagHolder:
  """Defines --config, whose fields are overridden as in --config.seed=3.

  `parse` gives the fields of the config their values.
  """
  return flags.DEFINE(
    ConfigParser(), "config", None, help_text, flag_values=values
  )


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
    arguments = values.read_flags_from_files(arguments, force_gnu=False)
    has_config = "config" in values and isinstance(
      values["config"].parser, ConfigParser
    )
    if not has_config:
      return values(arguments)
    arguments, overrides = overrides_lib.take_overrides(arguments)
    rest = values(arguments)
    if overrides and values.config is None:
      raise UserError(f"{overrides[0]} needs a config: --config=FILE:WORDS")
    if overrides:
      for note in overrides_lib.override(values.config, overrides):
        print(note, file=sys.stderr)
    return rest
  except flags.UnrecognizedFlagError as error:
    sys.exit(f"Error: {_describe_unknown(error, values)}")
  except flags.Error as error:
    sys.exit(f"Error: {_describe(error, values)} (--help lists the flags.)")
  except (UserError, ValueError) as error:
    sys.exit(f"Error: {error}")


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


def make_runtime(values: flags.FlagValues) -> Runtime:
  """Returns the Runtime that the flags of `define_devices` describe.

  Call it first of all: TensorFlow must not have used its devices before.

  Raises:
    UserError: if the devices are not available, or for a path that cannot be
      used.
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


def _describe(error, values):
  """Returns what is wrong with the value of a flag."""
  text = str(error)
  validator = re.fullmatch(r"flags? .*?: (--.*)", text)
  if validator:
    return validator[1]
  name = text.removeprefix("flag --").partition("=")[0]
  missing = re.fullmatch(r"Missing value for flag --(\S+)", text)
  if missing:
    return f"--{missing[1]} has no value: give --{missing[1]}=VALUE."
  parser = values[name].parser if name in values else None
  value = text.removeprefix(f"flag --{name}=").partition(": ")[0]
  if isinstance(parser, flags.BooleanParser):
    return f"--{name} must be true or false. Received: {value!r}"
  if isinstance(parser, (flags.FloatParser, flags.IntegerParser)):
    return f"--{name} must be {parser.syntactic_help}. Received: {value!r}"
  return text


def _describe_unknown(error, values):
  """Returns a sentence on an unknown flag, with what may be meant."""
  name = error.flagname
  value = error.flagvalue.partition("=")[2]  # Of the whole argument.
  sentence = f"there is no flag --{name}"
  if name == "override":  # Of the programs in experiments/ that train.
    name, _, value = value.partition("=")
  close = difflib.get_close_matches(name, list(values), 1, 0.8)
  if close:
    return f"{sentence}. Did you mean --{close[0]}?"
  prefix = "--override=" if "override" in values else "--config."
  config = values["config"].value if "config" in values else None
  if isinstance(config, list):
    config = config_files.load(config[0])
  field = overrides_lib.suggest(name, config) if config else None
  if field:
    meant = overrides_lib.Override(field, value or "VALUE", prefix)
    return f"{sentence}. Did you mean {meant}?"
  return f"{sentence}. (--help lists the flags.)"
