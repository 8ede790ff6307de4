"""Trials: what a sweep trains, each a config with a value for each axis.

`make` returns the trials of a grid, `local.run` trains them in processes, and
`outcomes` says what became of each:

    todo = trials.make(
      "image_classification",
      ["configs/digits.py:sgd", "configs/digits.py:lookahead"],
      {"learning_rate.peak": ["0.03", "0.1"]},
      seeds=2,
      overrides=["num_epochs=3"],
    )
    for outcome in local.run(todo, "runs/my_sweep"):
      print(outcome.trial.values, outcome.final("eval/accuracy"))
"""

import dataclasses
import itertools
import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections
import tensorflow as tf
from absl import flags

from experiments import score
from trainers import config_files, files
from trainers import flags as flags_lib
from trainers import overrides as overrides_lib
from trainers.errors import UserError
from trainers.image_classification import __main__ as image_classification
from trainers.language_modeling import __main__ as language_modeling
from trainers.trainer import Trainer
from trainers.translation import __main__ as translation

# What the axis of several configs is called.
CONFIG = "config"
_OVERRIDE = "--override="  # Of a field, on the command line.
_GRID = "--grid="
# What stands in a value of a grid where somebody meant several values.
_LIST = re.compile(r"[\s;\[\](){}]")
# Characters that no directory is called by.
_UNSAFE = re.compile(r"[^\w.,+()=-]+")


@dataclasses.dataclass(frozen=True)
class Kind:
  """A trainer, and what its trials are compared by."""

  trainer: Trainer
  score: score.Score


KINDS = {
  "image_classification": Kind(image_classification.TRAINER, score.ACCURACY),
  "language_modeling": Kind(language_modeling.TRAINER, score.PERPLEXITY),
  "translation": Kind(translation.TRAINER, score.BLEU),
}


@dataclasses.dataclass(frozen=True)
class Trial:
  """A run of a sweep.

  Attributes:
    kind: A key of KINDS.
    name: The directory of the run, below that of the sweep. The parts of the
      path are the config, the value on each axis, and the seed.
    config: What to train.
    values: The value on each axis: CONFIG with the name of the config, and
      each field of the grid with its value.
    seed: That of the config.
  """

  kind: str
  name: str
  config: ml_collections.ConfigDict
  values: Mapping[str, Any]
  seed: int

  def workdir(self, sweep: str) -> str:
    """Returns the directory of the run in the directory of the sweep."""
    return os.path.join(sweep, *self.name.split("/"))


def define_flags(values: flags.FlagValues, configs: Sequence[str] = ()) -> None:
  """Defines --trainer, --config, --override and --data_dir.

  Args:
    values: Where to define them.
    configs: Default of --config.
  """
  flags.DEFINE_enum(
    "trainer",
    "image_classification",
    list(KINDS),
    "Whose the configs are.",
    flag_values=values,
  )
  flags.DEFINE_multi_string(
    "config",
    [*configs],
    "Experiment, as for the trainer: a file and words. Give the flag once for "
    "each.",
    flag_values=values,
  )
  flags.DEFINE_multi_string(
    "override",
    [],
    "FIELD=VALUE for all of them, such as num_epochs=2.",
    flag_values=values,
  )
  flags_lib.define_path("data_dir", "As for the trainer.", values)
  flags.register_validator(
    "config",
    bool,
    "--config must name an experiment, such as configs/digits.py:sgd",
    flag_values=values,
  )


def make(
  kind: str,
  configs: Sequence[str],
  axes: Mapping[str, Sequence[str]],
  seeds: int = 1,
  overrides: Sequence[str] = (),
) -> list[Trial]:
  """Returns the trials of all combinations, after all checks without data.

  Args:
    kind: The trainer, a key of KINDS.
    configs: Each a file and words, as for the trainer.
    axes: For each field its values, as text.
    seeds: Runs of each combination, with seeds 0, 1, ...
    overrides: FIELD=VALUE for all trials.

  Raises:
    UserError: if there is no such config or field, for a value that the
      trainer refuses, and for two trials that are the same.
  """
  return all_different(
    [
      _make_one(kind, config, dict(zip(axes, texts)), seed, overrides)
      for config, *texts, seed in itertools.product(
        configs, *axes.values(), range(seeds)
      )
    ]
  )


def all_different(trials: Sequence[Trial]) -> list[Trial]:
  """Returns the trials; raises a UserError if two of them are the same.

  Such trials have the same directory, or train the same config, as where a
  field of the grid makes two configs equal.
  """
  by_name, by_config = {}, {}
  for trial in trials:
    content = json.dumps(trial.config.to_dict(), sort_keys=True)
    if trial.name in by_name:
      raise UserError(
        f"Two trials are the same: {trial.name}. Give each value of an axis "
        "once, and each --config once."
      )
    if content in by_config:
      raise UserError(
        f"{by_config[content]} and {trial.name} would train the same config: "
        "leave out one --config, or the field that makes them equal."
      )
    by_name[trial.name] = trial
    by_config[content] = trial.name
  return [*trials]


def _make_one(kind, reference, point, seed, overrides):
  """Returns the trial of one combination."""
  grid = [
    overrides_lib.Override(field, text, _GRID) for field, text in point.items()
  ]
  try:
    config, _ = load_config(reference, overrides, grid)
  except UserError as error:
    if not any(_LIST.search(text) for text in point.values()):
      raise
    raise UserError(
      f"{error} Commas separate the values of {_GRID}FIELD=VALUE,VALUE, and "
      "brackets hold the parts of one value together."
    ) from error
  values = {CONFIG: name_of(reference)}
  with config_files.explaining_missing_fields():
    config.seed = seed
    values |= {field: value_of(config, field) for field in point}
    try:
      KINDS[kind].trainer.check(config, tf.distribute.get_strategy())
    except UserError as error:
      shown = " ".join([f"--config={reference}", *map(str, grid)])
      raise UserError(f"{shown}: {error}") from error
  parts = [f"{field}={_text(values[field])}" for field in point]
  name = "/".join([values[CONFIG], *map(_safe, parts), f"seed_{seed}"])
  return Trial(kind, name, config, values, seed)


def check_data(trials: Sequence[Trial], data_dir: str | None) -> None:
  """Raises a UserError if none of the trials finds its data.

  A mistake of all trials is told once, before the first of them begins. Where
  one finds its data, the others are left to say what they lack. Trials of
  translation find their text themselves.

  Args:
    trials: To be trained.
    data_dir: As for the trainer.
  """
  by_data = {}
  for trial in trials:
    data = json.dumps(trial.config.data.to_dict(), sort_keys=True)
    by_data.setdefault((trial.kind, data), trial)
  mistakes = []
  for trial in by_data.values():
    find = KINDS[trial.kind].trainer.source_to_compile
    try:
      with config_files.explaining_missing_fields():
        find(trial.config, data_dir, False)
    except UserError as error:
      mistakes.append(error)
    except Exception:  # What a trial fails by, and has in its log.
      return
    else:
      return
  raise mistakes[0]


def parse_grid(texts: Sequence[str]) -> dict[str, list[str]]:
  """Returns the axes of a grid, with the texts of their values.

  Args:
    texts: Each FIELD=VALUE,VALUE,... A comma in brackets is part of a value.

  Raises:
    UserError: for a text of another form, and for a field that stands twice.
  """
  axes = {}
  for text in texts:
    field, equals, rest = (part.strip() for part in text.partition("="))
    values = [value.strip() for value in re.split(r",(?![^([]*[)\]])", rest)]
    if not (field and equals and all(values)):
      raise UserError(
        f"{_GRID}{text} must be a field and its values, such as "
        f"{_GRID}learning_rate.peak=0.03,0.1"
      )
    if field == "seed":
      raise UserError(
        f"{_GRID}{text}: the seeds of a sweep are those of --seeds=NUMBER."
      )
    if field in axes:
      raise UserError(
        f"{_GRID}{text}: {field} has an axis already. Give all its values "
        "with one flag."
      )
    axes[field] = values
  return axes


def name_of(reference: str) -> str:
  """Returns what the runs of a value of --config are called."""
  path, _, text = reference.partition(":")
  words = sorted(word.strip() for word in text.split(",") if word.strip())
  return "_".join([os.path.splitext(os.path.basename(path))[0], *words])


def load_config(
  reference: str,
  overrides: Sequence[str] = (),
  grid: Sequence[overrides_lib.Override] = (),
) -> tuple[ml_collections.ConfigDict, list[str]]:
  """Returns the config of a value of --config, with all of --override.

  Args:
    reference: A file and words.
    overrides: Each FIELD=VALUE.
    grid: More of them. They count where `overrides` has the same field.

  Returns:
    The config, and the sentences of `overrides.override`.

  Raises:
    UserError: if there is no such config or field, or for a wrong value.
  """
  files.check_no_pattern(config=name_of(reference))  # A directory.
  config = config_files.load(reference)
  parts = [one.partition("=") for one in overrides]
  notes = overrides_lib.override(
    config,
    [
      *(
        overrides_lib.Override(field, value if equals else None, _OVERRIDE)
        for field, equals, value in parts
      ),
      *grid,
    ],
  )
  return config, notes


def notes(
  configs: Sequence[str],
  axes: Mapping[str, Sequence[str]],
  overrides: Sequence[str] = (),
) -> list[str]:
  """Returns sentences on what overrides and a grid change beside their fields.

  Args:
    configs: Each a file and words, which `make` took.
    axes: For each field its values, as text.
    overrides: FIELD=VALUE for all trials.
  """
  found = []
  added = [field for field in axes if field.startswith("lookahead.")]
  others = {field: axes[field] for field in axes if field not in added}
  first = {field: texts[0] for field, texts in others.items()}
  for reference in configs:
    config, told = load_config(reference, overrides)
    found += told
    if added and config.lookahead is None:
      found.append(
        f"{_GRID}{added[0]} adds Lookahead to the trials of "
        f"{name_of(reference)}, which has none."
      )
    for field, texts in others.items():
      for text in texts:
        point = (first | {field: text}).items()
        grid = [overrides_lib.Override(*one, _GRID) for one in point]
        found += load_config(reference, overrides, grid)[1]
  return [*dict.fromkeys(found)]


def value_of(config: ml_collections.ConfigDict, field: str) -> Any:
  """Returns the value of a field such as "data.image_size"."""
  value = config
  for name in field.split("."):
    value = value[name]
  return value


def _text(value):
  """Returns a value as directories are called by it."""
  return f"{value}".replace(" ", "") if value != "" else "empty"


def _safe(name):
  return _UNSAFE.sub("_", name)
