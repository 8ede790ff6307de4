"""What runs are compared by."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from trainers import metrics


@dataclasses.dataclass(frozen=True)
class Score:
  """A figure of evaluations.

  Attributes:
    column: Its name in metrics.jsonl.
    name: What tables and figures call it.
    factor: From the value there to the one shown, which is of 100.
    unit: That of the value shown.
    examples: Where the value is the part of the examples that are right, how
      many there are: the name in source.json. Otherwise None.
    best: `max` if more is better, `min` if less is.
    greatest: What the figure cannot exceed.
  """

  column: str
  name: str
  factor: float
  unit: str
  examples: str | None = None
  best: Callable[..., Any] = max
  greatest: float = 100.0

  def values(self, lines: Sequence[Mapping[str, float]]) -> list[float]:
    """Returns what to show of `lines`, which metrics.read returned."""
    return [self.factor * v for v in metrics.column(lines, self.column)[1]]

  @property
  def label(self) -> str:
    """What axes of figures call it, with its unit."""
    return f"validation {self.name}" + (f", {self.unit}" if self.unit else "")

  def text(self, value: float) -> str:
    """Returns a value of metrics.jsonl for people, such as "98.06 %"."""
    return f"{self.factor * value:.2f} {self.unit}".strip()


ACCURACY = Score("eval/accuracy", "accuracy", 100.0, "%", "validation_size")
BLEU = Score("eval/bleu", "BLEU", 1.0, "")
PERPLEXITY = Score(
  "eval/perplexity", "perplexity", 1.0, "", best=min, greatest=float("inf")
)
