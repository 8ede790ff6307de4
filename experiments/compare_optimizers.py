"""Trains with several configs and seeds, and compares them.

python -m experiments.compare_optimizers --workdir=runs/digits

The default is the handwritten digits with SGD and with Lookahead around the
same SGD, three seeds each. The work directory keeps each run, the table
results.md and the figure curves.png; the same command goes on where it stopped.
Runs are called after the file and its words, in alphabetical order: those of
--config=configs/cifar.py:sgd,cifar100 are called cifar_cifar100_sgd.
With --learning_rate_factors=0.3,1,3 each config is trained at that many times
its learning rate, and learning_rates.png shows what comes of which rate. With
--trainer=translation or language_modeling configs are those of such models.
"""

import argparse
import ast
import os
import runpy

import ml_collections
from absl import app, flags, logging

from experiments import report, score
from trainers import devices, errors, files
from trainers import flags as flags_lib
from trainers.errors import UserError
from trainers.image_classification import __main__ as image_classification
from trainers.language_modeling import __main__ as language_modeling
from trainers.translation import __main__ as translation

# Each trainer, and what its runs are compared by.
_TRAINERS = {
  "image_classification": (image_classification.TRAINER, score.ACCURACY),
  "language_modeling": (language_modeling.TRAINER, score.PERPLEXITY),
  "translation": (translation.TRAINER, score.BLEU),
}

_TRAINER = flags.DEFINE_enum(
  "trainer", "image_classification", list(_TRAINERS), "Whose the configs are."
)
_CONFIGS = flags.DEFINE_multi_string(
  "config",
  ["configs/digits.py:sgd", "configs/digits.py:lookahead"],
  "Experiment to compare, as for the trainer: a file and words. Give the flag "
  "once for each.",
)
_SEEDS = flags.DEFINE_integer(
  "seeds", 3, "Runs of each config, with seeds 0, 1, ...", lower_bound=1
)
_FACTORS = flags.DEFINE_list(
  "learning_rate_factors",
  ["1"],
  "Multiples of each config's learning_rate.peak to train it at.",
)
_OVERRIDES = flags.DEFINE_multi_string(
  "override", [], "FIELD=VALUE for all configs, such as num_epochs=2."
)
_WORKDIR = flags_lib.define_path(
  "workdir", "Where to keep everything.", flags.FLAGS
)
_DATA_DIR = flags_lib.define_path(
  "data_dir", "As for the trainer.", flags.FLAGS
)


def main(arguments: list[str]) -> None:
  """Trains, then reports."""
  if len(arguments) > 1:
    raise app.UsageError(f"Unknown arguments: {arguments[1:]}")
  logging.set_verbosity(logging.WARNING)
  with errors.ending_the_program():
    files.check_no_pattern(workdir=_WORKDIR.value)
    for experiment in _CONFIGS.value:
      files.check_no_pattern(config=_name(experiment))  # A directory.
      _load_config(experiment)  # Mistakes are told before anything is trained.
    factors = [_parse_factor(text) for text in _FACTORS.value]
    strategy = devices.make_strategy()
    runs = {
      _name(experiment): _run_all(experiment, factors, strategy)
      for experiment in _CONFIGS.value
    }
  report.write(runs, _TRAINERS[_TRAINER.value][1], _WORKDIR.value)


def _parse_factor(text):
  try:
    factor = float(text)
  except ValueError:
    factor = 0.0
  if not 0 < factor < float("inf"):
    raise UserError(
      "--learning_rate_factors must be positive numbers, such as 0.3,1,3. "
      f"Received: {text!r}"
    )
  return factor


def _name(experiment):
  """Returns what the runs of a value of --config are called."""
  path, _, text = experiment.partition(":")
  words = sorted(word.strip() for word in text.split(",") if word.strip())
  return "_".join([os.path.splitext(os.path.basename(path))[0], *words])


def _run_all(experiment, factors, strategy):
  """Trains the config of a value of --config at each learning rate and seed.

  Returns:
    For each learning rate the work directories of its runs, by seed.
  """
  trainer, _ = _TRAINERS[_TRAINER.value]
  workdirs = {}
  for factor in factors:
    for seed in range(_SEEDS.value):
      config = _load_config(experiment)
      config.seed = seed
      # Without the digits that a product of floats has at its end.
      rate = float(f"{factor * config.learning_rate.peak:g}")
      config.learning_rate.peak = rate
      workdir = os.path.join(
        _WORKDIR.value,
        _name(experiment),
        f"learning_rate_{rate:g}",
        f"seed_{seed}",
      )
      run = devices.Runtime(strategy, workdir, _DATA_DIR.value)
      trainer.train(trainer.load(config, run), run)
      workdirs.setdefault(rate, []).append(workdir)
  return workdirs


def _load_config(experiment) -> ml_collections.ConfigDict:
  """Returns the config of a value of --config, with the overrides."""
  path, *words = experiment.split(":", 1)
  if not os.path.exists(path):
    raise UserError(f"--config: there is no file {path}.")
  try:
    config = runpy.run_path(path)["get_config"](*words).lock()
  except argparse.ArgumentTypeError as error:  # Of configs/words.py.
    raise UserError(f"--config={experiment}: {error}") from error
  for override in _OVERRIDES.value:
    field, _, value = override.partition("=")
    try:
      values = {field: _parse_value(value)}
      config.update_from_flattened_dict(values)
      flags_lib.resolve_none(config, values)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
      message = flags_lib.describe_config_error(error)
      raise UserError(
        f"--override={override} for {experiment}: {message}"
      ) from error
  return config


def _parse_value(text):
  """Returns the Python value that `text` writes, or else the text itself."""
  if text in flags_lib.NONE:
    return None
  try:
    return ast.literal_eval(text)
  except (SyntaxError, ValueError):
    return text


if __name__ == "__main__":
  flags.mark_flag_as_required("workdir")
  app.run(main)
