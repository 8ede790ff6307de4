"""Trains with several configs and seeds, and compares them.

python -m experiments.compare_optimizers --workdir=runs/digits

The default is the handwritten digits with SGD and with Lookahead around the
same SGD, three seeds each. The runs are trials in processes of this machine, as
those of a sweep are. The work directory keeps each run, the table results.md
and the figure curves.png; the same command goes on where it stopped.
Runs are called after the file and its words, in alphabetical order: those of
--config=configs/cifar.py:sgd,cifar100 are called cifar_cifar100_sgd.
With --learning_rate_factors=0.3,1,3 each config is trained at that many times
its learning rate, and learning_rates.png shows what comes of which rate. With
--trainer=translation or language_modeling configs are those of such models.
"""

import dataclasses
import sys
from collections.abc import Sequence

from absl import flags

from experiments import local, program, report, results, trials
from experiments.outcomes import Outcome
from experiments.trials import Trial
from trainers import config_files, errors
from trainers import flags as flags_lib
from trainers.errors import UserError

_PROGRAM = "compare_optimizers"
_RATE = "learning_rate.peak"


def define_flags(values: flags.FlagValues) -> None:
  """Defines the flags of this program, beside `flags.define_devices`."""
  trials.define_flags(
    values, ["configs/digits.py:sgd", "configs/digits.py:lookahead"]
  )
  program.define_flags(values, seeds=3)
  flags.DEFINE_list(
    "learning_rate_factors",
    ["1"],
    "Multiples of each config's learning_rate.peak to train it at.",
    flag_values=values,
  )


def main(values: flags.FlagValues) -> None:
  """Trains as the flags say, then reports; fails if a run has failed."""
  setup = program.prepare(values)
  factors = [_parse_factor(text) for text in values.learning_rate_factors]
  todo = make_trials(
    values.trainer, values.config, factors, values.seeds, values.override
  )
  for note in trials.notes(values.config, {}, values.override):
    print(note, file=sys.stderr)
  with (
    errors.saying_how_to_go_on(),
    results.writing(values.workdir, _PROGRAM, prefix="") as written,
  ):
    program.claim(values.workdir, values.trainer, [_RATE])
    found = local.run(
      todo, values.workdir, processes=values.processes, setup=setup
    )
    score = trials.KINDS[values.trainer].score
    report.write(_by_name_and_rate(found), score, written)
  program.check_none_failed(found)


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


def make_trials(
  trainer: str,
  configs: Sequence[str],
  factors: Sequence[float],
  seeds: int,
  overrides: Sequence[str] = (),
) -> list[Trial]:
  """Returns the runs of each config at multiples of its own learning rate.

  Args:
    trainer: Whose the configs are, a key of `trials.KINDS`.
    configs: Each a file and words.
    factors: Multiples of the learning_rate.peak of each config.
    seeds: Runs of each config and rate, with seeds 0, 1, ...
    overrides: FIELD=VALUE for all runs.

  Raises:
    UserError: as for `trials.make`.
  """
  made = []
  for reference in configs:
    config, _ = trials.load_config(reference, overrides)
    with config_files.explaining_missing_fields():
      peak = config.learning_rate.peak
    # Without the digits that a product of floats has at its end.
    rates = [f"{factor * peak:g}" for factor in factors]
    made += trials.make(trainer, [reference], {_RATE: rates}, seeds, overrides)
  return trials.all_different([_renamed(trial) for trial in made])


def _renamed(trial):
  """Returns a trial in the directory CONFIG/learning_rate_RATE/seed_N."""
  rate = trial.values[_RATE]
  parts = trial.values[trials.CONFIG], f"learning_rate_{rate:g}"
  name = "/".join([*parts, f"seed_{trial.seed}"])
  return dataclasses.replace(trial, name=name)


def _by_name_and_rate(
  found: Sequence[Outcome],
) -> dict[str, dict[float, list[Outcome]]]:
  """Returns for each config, for each learning rate the runs by seed."""
  runs = {}
  for one in found:
    by_rate = runs.setdefault(one.trial.values[trials.CONFIG], {})
    by_rate.setdefault(one.trial.values[_RATE], []).append(one)
  return runs


if __name__ == "__main__":
  flags_lib.run(main, define_flags)
