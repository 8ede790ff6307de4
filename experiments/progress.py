"""The progress of a sweep: one bar, and a line for each trial that fails."""

import sys
from collections.abc import Iterable, Sequence

import tqdm

from experiments import outcomes
from experiments.outcomes import Outcome
from experiments.trials import KINDS, Trial


class Progress:
  """A progress bar over trials that is a context manager.

  Args:
    trials: All of the sweep.
    over: The outcomes of those that were over before.
  """

  def __init__(self, trials: Sequence[Trial], over: Iterable[Outcome]):
    self._score = KINDS[trials[0].kind].score
    self._running = set()
    self._best = None
    self._first_to_fail = {}  # The name of a trial, by its reason.
    over = [*over]
    self._bar = tqdm.tqdm(
      total=len(trials), initial=len(over), unit="trial", mininterval=0
    )
    for outcome in over:
      self._compare(outcome)

  def __enter__(self) -> "Progress":
    return self

  def __exit__(self, *exception):
    self._bar.close()

  def started(self, trial: Trial) -> None:
    """Shows that a trial is under way."""
    self._running.add(trial.name)
    self._show()

  def finished(self, outcome: Outcome) -> None:
    """Shows that a trial is over; one that failed gets a line."""
    self._running.discard(outcome.trial.name)
    self._compare(outcome)
    if outcome.status == outcomes.FAILED:
      self._tell_failure(outcome)
    self._show()
    self._bar.update()

  def tell(self, sentence: str) -> None:
    """Prints a sentence to stderr, above the bar."""
    self._bar.write(sentence, file=sys.stderr)

  def _tell_failure(self, outcome):
    """Prints the reason of a trial that failed, or the trial with the same."""
    name = outcome.trial.name
    first = self._first_to_fail.setdefault(outcome.reason, name)
    if first == name:
      self.tell(describe_failures([outcome]))
    else:
      self.tell(f"Failed: {name}: as {first}.")

  def _compare(self, outcome):
    value = outcome.final(self._score.column)
    if value is not None:
      pairs = [(value, outcome.trial.name), *filter(None, [self._best])]
      self._best = self._score.best(pairs, key=lambda pair: pair[0])

  def _show(self):
    text = f"{len(self._running)} in training"
    if self._best:
      value, name = self._best
      text += f", best {self._score.name} {self._score.text(value)} of {name}"
    self._bar.set_postfix_str(text)


def describe_failures(of: Sequence[Outcome]) -> str:
  """Returns a line on trials that failed for the same reason."""
  return f"Failed: {outcomes.names(of)}: {of[0].reason} Log: {of[0].log}"
