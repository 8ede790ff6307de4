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

import os
import sys

from absl import flags

from experiments import report, results, trials
from trainers import config_files, devices, errors, files
from trainers import flags as flags_lib
from trainers.errors import UserError


def define_flags(values: flags.FlagValues) -> None:
  """Defines the flags of this program, beside `flags.define_devices`."""
  trials.define_flags(
    values, ["configs/digits.py:sgd", "configs/digits.py:lookahead"]
  )
  results.require_workdir(values)
  flags.DEFINE_integer(
    "seeds",
    3,
    "Runs of each config, with seeds 0, 1, ...",
    lower_bound=1,
    flag_values=values,
  )
  flags.DEFINE_list(
    "learning_rate_factors",
    ["1"],
    "Multiples of each config's learning_rate.peak to train it at.",
    flag_values=values,
  )


def main(values: flags.FlagValues) -> None:
  """Trains as the flags say, then reports."""
  files.check_no_pattern(workdir=values.workdir)
  # Mistakes are told before anything is trained.
  notes = []
  for experiment in values.config:
    notes += trials.load_config(experiment, values.override)[1]
  for note in dict.fromkeys(notes):
    print(note, file=sys.stderr)
  factors = [_parse_factor(text) for text in values.learning_rate_factors]
  run = flags_lib.make_runtime(values)
  with errors.saying_how_to_go_on():
    runs = {
      trials.name_of(experiment): _run_all(
        experiment, factors, run.strategy, values
      )
      for experiment in values.config
    }
    report.write(runs, trials.KINDS[values.trainer].score, values.workdir)


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


def _run_all(experiment, factors, strategy, values):
  """Trains the config of a value of --config at each learning rate and seed.

  Returns:
    For each learning rate the work directories of its runs, by seed.
  """
  trainer = trials.KINDS[values.trainer].trainer
  workdirs = {}
  for factor in factors:
    for seed in range(values.seeds):
      config, _ = trials.load_config(experiment, values.override)
      with config_files.explaining_missing_fields():
        config.seed = seed
        # Without the digits that a product of floats has at its end.
        rate = float(f"{factor * config.learning_rate.peak:g}")
        config.learning_rate.peak = rate
        workdir = os.path.join(
          values.workdir,
          trials.name_of(experiment),
          f"learning_rate_{rate:g}",
          f"seed_{seed}",
        )
        run = devices.Runtime(strategy, workdir, values.data_dir, verbose=False)
        trainer.train(trainer.load(config, run), run)
      workdirs.setdefault(rate, []).append(workdir)
  return workdirs


if __name__ == "__main__":
  flags_lib.run(main, define_flags)
