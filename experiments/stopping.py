"""Rules that stop losing trials early. Optuna decides."""

from collections.abc import Iterable, Mapping

from experiments import outcomes
from experiments.outcomes import Outcome
from experiments.trials import KINDS, Trial
from trainers import metrics
from trainers.errors import UserError

NONE = "none"
MEDIAN = "median"
HALVING = "halving"
RULES = (NONE, MEDIAN, HALVING)


def over(rule: str) -> tuple[str, ...]:
  """Returns the statuses of trials that are not trained any further.

  A trial that was stopped early goes on where no rule holds any more. One that
  failed is tried again.
  """
  final = (outcomes.FINISHED, outcomes.DIVERGED)
  return final if rule == NONE else (*final, outcomes.STOPPED)


class Judge:
  """Says which trials to stop.

  Args:
    rule: MEDIAN stops a trial whose best score so far is worse than the median
      of the scores that other trials had at the same evaluation, as soon as
      five trials are over. HALVING lets a quarter of the trials go on beyond
      the first evaluation, of these a quarter beyond the fourth, and so on.
    kind: The trainer, whose score decides.
    over: The outcomes of trials that were over before.

  Raises:
    UserError: if there is a rule and no Optuna.
  """

  def __init__(self, rule: str, kind: str, over: Iterable[Outcome]):
    self._rule, self._score = rule, KINDS[kind].score
    self._trials = {}
    if rule == NONE:
      return
    self._optuna = _import_optuna()
    pruners = self._optuna.pruners
    self._study = self._optuna.create_study(
      direction="maximize" if self._score.best is max else "minimize",
      pruner=pruners.MedianPruner()
      if rule == MEDIAN
      else pruners.SuccessiveHalvingPruner(),
    )
    for outcome in over:
      self._add(outcome)

  def _add(self, outcome):
    """Tells Optuna of a trial that was over before."""
    values = metrics.column(outcome.lines, self._score.column)[1]
    if not values:
      return
    finished = outcome.status == outcomes.FINISHED
    states = self._optuna.trial.TrialState
    self._study.add_trial(
      self._optuna.trial.create_trial(
        state=states.COMPLETE if finished else states.PRUNED,
        value=values[-1],
        intermediate_values=dict(enumerate(values, 1)),
      )
    )

  def reason_to_stop(
    self, trial: Trial, epoch: float, values: Mapping[str, float]
  ) -> str | None:
    """Returns why to stop a trial after an evaluation, or None.

    Args:
      trial: The trial.
      epoch: Of the evaluation.
      values: Its metrics, by name.
    """
    if self._rule == NONE:
      return None
    if trial.name not in self._trials:
      self._trials[trial.name] = (self._study.ask(), [])
    asked, seen = self._trials[trial.name]
    seen.append(values[self._score.metric])
    asked.report(seen[-1], len(seen))
    if not asked.should_prune():
      return None
    return (
      f"The rule {self._rule} stopped it after epoch {epoch:g}, with "
      f"{self._score.name} {self._score.text(seen[-1])}."
    )

  def finished(self, outcome: Outcome) -> None:
    """Tells Optuna that a trial is over."""
    if outcome.trial.name not in self._trials:
      return
    asked, seen = self._trials.pop(outcome.trial.name)
    states = self._optuna.trial.TrialState
    if outcome.status == outcomes.FINISHED:
      self._study.tell(asked, seen[-1])
    elif outcome.status == outcomes.STOPPED:
      self._study.tell(asked, state=states.PRUNED)
    else:
      self._study.tell(asked, state=states.FAIL)


def _import_optuna():
  try:
    import optuna
  except ImportError:
    raise UserError(
      "--stop_early needs Optuna: pip install 'lookahead-tf[sweep]'."
    ) from None
  optuna.logging.set_verbosity(optuna.logging.WARNING)
  return optuna
