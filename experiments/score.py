"""What runs are compared by."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Score:
  """A figure of evaluations, of which more is better.

  Attributes:
    column: Its name in metrics.jsonl.
    name: What tables and figures call it.
    factor: From the value there to the one shown, which is of 100.
    unit: That of the value shown.
  """

  column: str
  name: str
  factor: float
  unit: str


ACCURACY = Score("eval/accuracy", "accuracy", 100.0, "%")
BLEU = Score("eval/bleu", "BLEU", 1.0, "")
