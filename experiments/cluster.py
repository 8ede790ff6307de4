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

from experiments import outcomes, stopping
from experiments.outcomes import Outcome, Setup
from experiments.progress import Progress
from experiments.trials import KINDS, Trial
from trainers import hardware, workdir
from trainers.errors import UserError, first_line

LOCAL = "local"
_ROOT = pathlib.Path(__file__).resolve().parents[1]
# How often a trial is started again whose process or machine is lost.
_RESTARTS = 10
_TIMEOUT = 10  # Seconds for a cluster to answer.
# Seconds that a process has for ending a trial that was stopped, before the
# process takes the next trial. By default Ray has 2, and else fails the next.
_END = 600
_RECORDS = "ray"  # Directory below that of the sweep, while Ray trains.
_NUMBER = "number"  # Of a trial.
# What a trial reports.
_SCORES = "scores"
_EVALUATIONS = "evaluations"


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
      "num_cpus": hardware.count_cores(),
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
    text = first_line(error)
    if "timed out" in text:  # Ray gives its own start half a minute.
      text += " Run the same command again when the machine is less busy."
    raise UserError(f"--cluster={address} cannot be used: {text}") from error


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
  sweep = os.path.abspath(sweep)
  score = KINDS[trials[0].kind].score
  train = tune.with_parameters(
    _train, trials=trials, sweep=sweep, setup=setup, cpus=resources["cpu"]
  )
  ends = _Ends(trials, sweep, rule, progress)
  tuner = tune.Tuner(
    tune.with_resources(train, resources),
    param_space={_NUMBER: tune.grid_search([*range(len(trials))])},
    tune_config=tune.TuneConfig(
      metric="score",
      mode="max" if score.best is max else "min",
      scheduler=_make_scheduler(tune, rule),
      reuse_actors=True,
    ),
    run_config=tune.RunConfig(
      name=_RECORDS,
      storage_path=sweep,
      failure_config=tune.FailureConfig(max_failures=_RESTARTS),
      callbacks=[_make_callback(tune, ends)],
      verbose=0,
    ),
  )
  # Ray Tune prints what the progress bar shows already.
  with contextlib.redirect_stdout(io.StringIO()):
    tuner.fit()
  # Ray's own records say nothing that the trials do not.
  shutil.rmtree(os.path.join(sweep, _RECORDS), ignore_errors=True)
  return ends.over


def _make_scheduler(tune, rule):
  """Returns Ray's rule of early stopping; None for no rule."""
  schedulers, by = tune.schedulers, {"time_attr": _EVALUATIONS}
  if rule == stopping.MEDIAN:
    return schedulers.MedianStoppingRule(
      **by, grace_period=1, min_samples_required=5
    )
  if rule == stopping.HALVING:
    return schedulers.AsyncHyperBandScheduler(**by, grace_period=1, max_t=10**9)
  return None


class _Ends:
  """The trials that are over.

  Args:
    trials: All that Ray trains.
    sweep: Directory of the sweep.
    rule: Of early stopping.
    progress: Told what happens.

  Attributes:
    over: Their outcomes by name.
  """

  def __init__(self, trials, sweep, rule, progress):
    self._trials, self._sweep = trials, sweep
    self._rule, self._progress = rule, progress
    self.over = {}

  def started(self, number):
    self._progress.started(self._trials[number])

  def completed(self, number, scores):
    """A trial has come to its end, or Ray's rule has stopped the trial."""
    score = KINDS[self._trials[number].kind].score
    # Without a record of its end, which the trial itself would have written.
    reason = stopping.describe(self._rule, score, scores) if scores else ""
    self._finish(number, outcomes.STOPPED, reason)

  def failed(self, number, error):
    """Ray has given a trial up."""
    why = f"Ray gave it up after {_RESTARTS} restarts: {first_line(error)}"
    self._finish(number, outcomes.FAILED, why)

  def _finish(self, number, status, reason):
    """Records an end, where the trial has not recorded its own."""
    trial = self._trials[number]
    if outcomes.read(trial, self._sweep) is None:
      outcomes.write(trial, self._sweep, status, reason)
    outcome = outcomes.read(trial, self._sweep)
    self.over[trial.name] = outcome
    self._progress.finished(outcome)


def _make_callback(tune, ends):
  """Returns what has Ray Tune tell `ends` of the trials."""

  class Callback(tune.Callback):
    """Ray Tune calls the methods by these names."""

    def on_trial_start(self, iteration, trials, trial, **info):
      ends.started(trial.config[_NUMBER])

    def on_trial_complete(self, iteration, trials, trial, **info):
      ends.completed(trial.config[_NUMBER], trial.last_result.get(_SCORES, []))

    def on_trial_error(self, iteration, trials, trial, **info):
      ends.failed(trial.config[_NUMBER], trial.get_error())

  return Callback()


def _train(config, trials, sweep, setup, cpus):
  """Trains one trial in a process of Ray's."""
  from ray import tune

  # Read when the trial is over: a file that is written may take its time.
  os.environ["TUNE_FUNCTION_THREAD_TIMEOUT_S"] = str(_END)
  trial = trials[config[_NUMBER]]
  if workdir.read(sweep, "sweep") is None:
    raise UserError(
      f"{socket.gethostname()} does not see --workdir={sweep}: give a "
      "directory that all machines of the cluster see."
    )

  def report(scores: Sequence[float]) -> None:
    tune.report(
      {"score": scores[-1], _EVALUATIONS: len(scores), _SCORES: [*scores]}
    )

  strategy = _make_strategy(setup, max(1, int(cpus)))
  outcomes.train(trial, sweep, strategy, setup.data_dir, report)


@functools.cache
def _make_strategy(setup: Setup, threads: int) -> tf.distribute.Strategy:
  """Returns the strategy of this process, for all trials that it trains."""
  return setup.make_strategy(threads)
