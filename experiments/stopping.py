"""Rules that stop losing trials early. Optuna decides."""

from collections.abc import Iterable, Sequence

from experiments import outcomes
from experiments.outcomes import Outcome
from experiments.score import Score
from experiments.trials import KINDS, Trial
from trainers import metrics
from trainers.errors import UserError

NONE = "none"
MEDIAN = "median"
HALVING = "halving"
RULES = (NONE, MEDIAN, HALVING)


def split(
  trials: Sequence[Trial], sweep: str, rule: str
) -> tuple[dict[str, Outcome], list[Trial]]:
  """Returns the outcomes of the trials that are over, by name, and the others.

  A trial that was stopped early goes on where no rule holds any more. One that
  failed is tried again.

  Args:
    trials: All of the sweep.
    sweep: Its directory.
    rule: One of RULES.

  Raises:
    UserError: if the directory of a trial holds another run.
  """
  final = [outcomes.FINISHED, outcomes.DIVERGED]
  if rule != NONE:
    final.append(outcomes.STOPPED)
  found = {trial.name: outcomes.read(trial, sweep) for trial in trials}
  over = {
    name: outcome
    for name, outcome in found.items()
    if outcome and outcome.status in final
  }
  return over, [trial for trial in trials if trial.name not in over]


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
    self._asked = {}
    if rule == NONE:
      return
    self._optuna = _import_optuna()
    pruners = self._optuna.pruners
    self._study = self._optuna.create_study(
      direction="maximize" if self._score.best is max else "minimize",
      pruner=pruners.MedianPruner()
      if rule == MEDIAN
      else pruners.SuccessiveHalvingPruner(min_resource=1),
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

  def reason_to_stop(self, trial: Trial, scores: Sequence[float]) -> str | None:
    """Returns why to stop a trial after an evaluation, or None.

    Args:
      trial: The trial.
      scores: Of all its evaluations so far.
    """
    if self._rule == NONE:
      return None
    if trial.name not in self._asked:
      self._asked[trial.name] = (self._study.ask(), set())
    asked, reported = self._asked[trial.name]
    for number, score in enumerate(scores, 1):
      if number not in reported:
        asked.report(score, number)
        reported.add(number)
    if not asked.should_prune():
      return None
    return describe(self._rule, self._score, scores)

  def finished(self, outcome: Outcome) -> None:
    """Tells Optuna that a trial is over."""
    if outcome.trial.name not in self._asked:
      return
    asked, _ = self._asked.pop(outcome.trial.name)
    states = self._optuna.trial.TrialState
    if outcome.status == outcomes.FINISHED:
      self._study.tell(asked, outcome.final(self._score.column))
    elif outcome.status == outcomes.STOPPED:
      self._study.tell(asked, state=states.PRUNED)
    else:
      self._study.tell(asked, state=states.FAIL)


def describe(rule: str, score: Score, scores: Sequence[float]) -> str:
  """Returns a sentence on a trial that a rule has stopped.

  Args:
    rule: The rule.
    score: What the rule compares.
    scores: Of all evaluations of the trial.
  """
  return (
    f"The rule {rule} stopped it after evaluation {len(scores)}, with "
    f"{score.name} {score.text(scores[-1])}."
  )


def _import_optuna():
  try:
    import optuna
  except ImportError:
    raise UserError(
      "--stop_early needs Optuna: pip install 'lookahead-tf[sweep]'."
    ) from None
  optuna.logging.set_verbosity(optuna.logging.WARNING)
  return optuna
