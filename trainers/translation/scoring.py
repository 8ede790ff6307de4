"""BLEU of translations, by sacreBLEU."""

from collections.abc import Sequence

from sacrebleu.metrics import BLEU


def bleu(
  translations: Sequence[str], references: Sequence[str]
) -> tuple[float, str]:
  """Returns the score of detokenized text, cased, in [0, 100], and how.

  Args:
    translations: A sentence each.
    references: One for each of them.

  Returns:
    The score, and sacreBLEU's signature, which says how it was computed.
  """
  metric = BLEU()
  score = metric.corpus_score(list(translations), [list(references)]).score
  return score, str(metric.get_signature())
