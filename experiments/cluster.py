"""Trials on a Ray cluster, by Ray Tune: needs the extra `cluster`.

Ray starts and restarts the processes. Each trains its trial as a process of
this machine does, in the same directory, which all machines see; so a trial
whose process or machine was lost goes on from its last checkpoint.
"""

import contextlib
import functools
import io
import os
import pathlib
import re
import shutil
import socket
from collections.abc import Sequence

import tensorflow as tf
from absl import flags

from experiments import outcomes, results, stopping
from experiments.outcomes import Outcome, Setup
from experiments.progress import Progress
from experiments.trials import KINDS, Trial
from trainers import workdir
from trainers.errors import UserError, first_line

LOCAL = "local"
_ROOT = pathlib.Path(__file__).resolve().parents[1]
# How often a trial is started again whose process or machine is lost.
_RESTARTS = 10
_TIMEOUT = 10  # Seconds for a cluster to answer.
_RECORDS = "ray"  # Directory below that of the sweep, while Ray trains.
_SCORES = "scores"  # What a trial reports.


def define_flags(values: flags.FlagValues) -> None:
  """Defines --cluster, --cpus_per_trial and --gpus_per_trial."""
  flags.DEFINE_string(
    "cluster",
    None,
    "Train on a Ray cluster: its address, such as 10.0.0.1:6379, or local for "
    "one on this machine that ends with the sweep. --workdir must be a "
    "directory that all its machines see.",
    flag_values=values,
  )
  flags.DEFINE_float(
    "cpus_per_trial",
    None,
    "Processors that Ray sets aside for each trial; by default 1.",
    lower_bound=0.0,
    flag_values=values,
  )
  flags.DEFINE_float(
    "gpus_per_trial",
    None,
    "GPUs that Ray sets aside for each trial, .5 for two trials a GPU; by "
    "default none.",
    lower_bound=0.0,
    flag_values=values,
  )


def read_resources(values: flags.FlagValues) -> dict[str, float]:
  """Returns what Ray sets aside for a trial, as the flags say.

  Raises:
    UserError: for a flag that has no use with or without --cluster.
  """
  for name in ("cpus_per_trial", "gpus_per_trial"):
    if values.cluster is None and values[name].value is not None:
      raise UserError(
        f"--{name} goes with --cluster: --processes=NUMBER says "
        "how many trials train at a time on this machine."
      )
  if values.cluster is not None and values.processes is not None:
    raise UserError(
      "--processes goes without --cluster: --cpus_per_trial and "
      "--gpus_per_trial say how many trials fit a machine of a cluster."
    )
  cpus, gpus = values.cpus_per_trial, values.gpus_per_trial
  return {"cpu": 1.0 if cpus is None else cpus, "gpu": gpus or 0.0}


def run(
  trials: Sequence[Trial],
  sweep: str,
  *,
  address: str,
  resources: dict[str, float],
  setup: Setup | None = None,
  rule: str = stopping.NONE,
) -> list[Outcome]:
  """Trains the trials that are not over yet; returns how all of them ended.

  Args:
    trials: From `trials.make`.
    sweep: Directory of the sweep, which all machines of the cluster see. The
      same trials there go on where they stopped.
    address: Of the cluster, or LOCAL.
    resources: For each trial, by the names that Ray gives them.
    setup: How each process trains.
    rule: Of early stopping, one of `stopping.RULES`. Ray Tune has rules of its
      own by these names.

  Returns:
    An outcome for each trial, in their order.

  Raises:
    UserError: without Ray, if there is no cluster at the address, if none of
      its machines has the resources, and if the directory of a trial holds
      another run.
  """
  ray, tune = _import_ray()
  over, waiting = stopping.split(trials, sweep, rule)
  if waiting:
    _connect(ray, address)
    try:
      _check_resources(ray, resources)
      with Progress(trials, over.values()) as progress:
        over |= _tune(
          tune, waiting, sweep, resources, setup or Setup(), rule, progress
        )
    finally:
      ray.shutdown()
  return [over[trial.name] for trial in trials]


def _import_ray():
  # What Ray reads when it is imported: no report to its makers, and a Ctrl-C
  # is the sweep's.
  os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
  os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
  try:
    import ray
    from ray import tune
  except ImportError:
    raise UserError(
      "--cluster needs Ray Tune: pip install -e '.[cluster]'."
    ) from None
  return ray, tune


def _connect(ray, address):
  """Starts a cluster on this machine, or joins one."""
  own = {"address": address}
  if address == LOCAL:
    own = {
      "address": LOCAL,
      "num_cpus": results.count_cores(),
      "include_dashboard": False,
    }
  else:
    _check_listening(address)
  try:
    ray.init(
      **own,
      log_to_driver=False,
      logging_level="ERROR",
      runtime_env={"env_vars": {"PYTHONPATH": str(_ROOT)}},
    )
  except Exception as error:  # Ray raises many kinds.
    raise UserError(
      f"--cluster={address} cannot be used: {first_line(error)}"
    ) from error


def _check_listening(address):
  """Raises a UserError if nothing listens there: Ray would try for minutes."""
  place = re.fullmatch(r"(?:ray://)?\[?([^/]+?)\]?:(\d+)", address)
  if place is None:
    raise UserError(
      f"--cluster must be {LOCAL}, or HOST:PORT of a Ray cluster. Received: "
      f"{address!r}"
    )
  try:
    socket.create_connection(place.groups(), _TIMEOUT).close()
  except (OSError, OverflowError) as error:
    raise UserError(
      f"--cluster={address} cannot be reached: {first_line(error)}"
    ) from error


def _check_resources(ray, resources):
  """Raises a UserError if no machine has them: Ray would wait for one."""
  machines = [
    {name: node["Resources"].get(name.upper(), 0.0) for name in resources}
    for node in ray.nodes()
    if node["Alive"]
  ]
  if not any(
    all(machine[name] >= amount for name, amount in resources.items())
    for machine in machines
  ):
    wanted, there = _told(resources), "; ".join(map(_told, machines))
    raise UserError(
      f"No machine of the cluster has what --cpus_per_trial and "
      f"--gpus_per_trial ask for, {wanted}. There is: {there}"
    )


def _told(resources):
  return ", ".join(f"{n:g} {name.upper()}" for name, n in resources.items())


def _tune(tune, trials, sweep, resources, setup, rule, progress):
  """Has Ray Tune train all trials; returns their outcomes by name."""
  score = KINDS[trials[0].kind].score
  sweep = os.path.abspath(sweep)
  train = tune.with_parameters(
    _train, trials=trials, sweep=sweep, setup=setup, cpus=resources["cpu"]
  )
  scheduler = None
  if rule == stopping.MEDIAN:
    scheduler = tune.schedulers.MedianStoppingRule(
      time_attr="evaluations", grace_period=1, min_samples_required=5
    )
  elif rule == stopping.HALVING:
    scheduler = tune.schedulers.AsyncHyperBandScheduler(
      time_attr="evaluations", grace_period=1, max_t=10**9
    )
  over = {}

  class Watch(tune.Callback):
    """Follows the trials."""

    def on_trial_start(self, iteration, trials, trial, **info):
      progress.started(_of(trial))

    def on_trial_complete(self, iteration, trials, trial, **info):
      finish(trial, outcomes.STOPPED, _why(rule, score, trial.last_result))

    def on_trial_error(self, iteration, trials, trial, **info):
      why = first_line(trial.get_error())
      finish(
        trial,
        outcomes.FAILED,
        f"Ray gave it up after {_RESTARTS} restarts: {why}",
      )

  def _of(trial):
    return trials[trial.config["index"]]

  def finish(trial, status, reason):
    own = _of(trial)
    if outcomes.read(own, sweep) is None:
      outcomes.write(own, sweep, status, reason)
    over[own.name] = outcomes.read(own, sweep)
    progress.finished(over[own.name])

  tuner = tune.Tuner(
    tune.with_resources(train, resources),
    param_space={"index": tune.grid_search([*range(len(trials))])},
    tune_config=tune.TuneConfig(
      metric="score",
      mode="max" if score.best is max else "min",
      scheduler=scheduler,
      reuse_actors=True,
    ),
    run_config=tune.RunConfig(
      name=_RECORDS,
      storage_path=sweep,
      failure_config=tune.FailureConfig(max_failures=_RESTARTS),
      callbacks=[Watch()],
      verbose=0,
    ),
  )
  # Ray Tune prints what the progress bar shows already.
  with contextlib.redirect_stdout(io.StringIO()):
    tuner.fit()
  # Ray's own records say nothing that the trials do not.
  shutil.rmtree(os.path.join(sweep, _RECORDS), ignore_errors=True)
  return over


def _why(rule, score, last):
  return stopping.describe(rule, score, last.get(_SCORES, [float("nan")]))


def _train(config, trials, sweep, setup, cpus):
  """Trains one trial in a process of Ray's."""
  from ray import tune

  trial = trials[config["index"]]
  if workdir.read(sweep, "sweep") is None:
    raise UserError(
      f"{socket.gethostname()} does not see --workdir={sweep}: give a "
      "directory that all machines of the cluster see."
    )

  def report(scores: Sequence[float]) -> None:
    tune.report(
      {"score": scores[-1], "evaluations": len(scores), _SCORES: [*scores]}
    )

  strategy = _make_strategy(setup, max(1, int(cpus)))
  outcomes.train(trial, sweep, strategy, setup.data_dir, report)


@functools.cache
def _make_strategy(setup: Setup, threads: int) -> tf.distribute.Strategy:
  """Returns the strategy of this process, for all trials that it trains."""
  return setup.make_strategy(threads)
