"""What runs are compared by."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from trainers import metrics


@dataclasses.dataclass(frozen=True)
class Score:
  """A metric of runs.

  Attributes:
    column: Its name in metrics.jsonl.
    name: What tables and figures call it.
    factor: From the value there to the one shown, such as 100 for percent.
    unit: That of the value shown.
    examples: Where the value is the part of the examples that are right, how
      many there are: the name in source.json. Otherwise None.
    best: `max` if more is better, `min` if less is.
    greatest: What the value shown cannot exceed.
    digits: Behind the point, in tables.
  """

  column: str
  name: str
  factor: float
  unit: str
  examples: str | None = None
  best: Callable[..., Any] = max
  greatest: float = 100.0
  digits: int = 2

  def values(self, lines: Sequence[Mapping[str, float]]) -> list[float]:
    """Returns what to show of `lines`, which metrics.read returned."""
    return [self.factor * v for v in metrics.column(lines, self.column)[1]]

  @property
  def label(self) -> str:
    """What axes of figures call it, with its unit."""
    of = "validation " if self.column.startswith("eval/") else ""
    return f"{of}{self.name}" + (f", {self.unit}" if self.unit else "")

  def text(self, value: float) -> str:
    """Returns a value of metrics.jsonl for people, such as "98.06 %"."""
    return f"{self.factor * value:.{self.digits}f} {self.unit}".strip()


ACCURACY = Score("eval/accuracy", "accuracy", 100.0, "%", "validation_size")
BLEU = Score("eval/bleu", "BLEU", 1.0, "")
PERPLEXITY = Score(
  "eval/perplexity", "perplexity", 1.0, "", best=min, greatest=float("inf")
)
# Of the fast weights, over the last loop of steps.
TRAINING_LOSS = Score(
  "train/loss",
  "training loss",
  1.0,
  "",
  best=min,
  greatest=float("inf"),
  digits=4,
)
VALIDATION_LOSS = dataclasses.replace(
  TRAINING_LOSS, column="eval/loss", name="loss"
)
