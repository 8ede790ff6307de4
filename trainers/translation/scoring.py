"""BLEU of translations, by sacreBLEU's tokenizer for the target language.

BLEU counts groups of words. To sacreBLEU's default tokenizer, 13a, words are
what stands between spaces or punctuation. In a language without spaces a
sentence is one word, and BLEU is 0 for translations that are right.
"""

import collections
import dataclasses
import itertools
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

from babel import core
from sacrebleu.metrics import BLEU

from trainers.errors import UserError
from trainers.translation.sources import Split

# sacreBLEU's tokenizer for a language, and the one to take where the package is
# missing that the first one needs. Korean has spaces between most words.
_OF_LANGUAGES = {
  "zh": ("zh", "zh"),
  "ja": ("ja-mecab", "char"),
  "ko": ("ko-mecab", "13a"),
}
# Scripts without spaces between words for which sacreBLEU has no tokenizer that
# works without a download.
_OTHERS = ("Thai", "Lao", "Khmer", "Myanmar", "Tibetan")
# Languages and scripts of letters, by the first word of their Unicode names.
_WRITTEN = {
  "CJK": "zh",
  "HIRAGANA": "ja",
  "KATAKANA": "ja",
  "HANGUL": "ko",
  **{script.upper(): script for script in _OTHERS},
}
_NAMES = {"zh": "Chinese", "ja": "Japanese", "ko": "Korean"}
# Share of all letters from which on a script counts. The words of most other
# scripts have several times as many letters.
_LEAST_SHARE = 0.1


@dataclasses.dataclass(frozen=True)
class Bleu:
  """BLEU of detokenized text, cased.

  Attributes:
    tokenizer: Name of sacreBLEU's tokenizer.
    effective_order: Whether the score leaves out groups of more words than any
      sentence has. Otherwise such groups make the score 0.
  """

  tokenizer: str = "13a"
  effective_order: bool = False

  def __call__(
    self, translations: Sequence[str], references: Sequence[str]
  ) -> tuple[float, str]:
    """Returns the score, in [0, 100], and how it was computed.

    Args:
      translations: A sentence each.
      references: One for each of them.

    Returns:
      The score, and sacreBLEU's signature.
    """
    metric = self._metric()
    score = metric.corpus_score(list(translations), [list(references)]).score
    return score, str(metric.get_signature())

  def describe(self) -> dict[str, Any]:
    """Returns what tells these scores from others, JSON-like."""
    return dataclasses.asdict(self)

  def orders(self, references: Sequence[str]) -> int:
    """Returns the number of words of the longest reference, at most 4."""
    references = list(references)
    totals = self._metric().corpus_score(references, [references]).totals
    return sum(total > 0 for total in totals)

  def _metric(self):
    return BLEU(tokenize=self.tokenizer, effective_order=self.effective_order)


@dataclasses.dataclass(frozen=True)
class Scored:
  """Sentences whose translations are scored.

  Attributes:
    name: Name of the split.
    sentences: Sentences to translate.
    references: A right translation of each.
    bleu: The score that fits the references.
    notes: A sentence for each way in which `bleu` is not the usual BLEU.
  """

  name: str
  sentences: list[str]
  references: list[str]
  bleu: Bleu
  notes: list[str]

  def score(self, translations: Sequence[str]) -> tuple[float, str]:
    """Returns the BLEU of translations of `sentences`, and its signature."""
    return self.bleu(translations, self.references)


def prepare(
  split: Split, language: str | None, limit: int | None = None
) -> Scored:
  """Returns the first `limit` sentences of a split, or all, to be scored.

  Args:
    split: The split.
    language: As in `choose`.
    limit: How many sentences, or None for all.

  Raises:
    UserError: as `choose` does, or if the split cannot be read.
  """
  sentences, references = (column[:limit] for column in split.columns())
  return Scored(
    split.name,
    sentences,
    references,
    *choose(language, references, split.name),
  )


def choose(
  language: str | None, references: Sequence[str], name: str
) -> tuple[Bleu, list[str]]:
  """Returns a BLEU that is 100 for these references, and notes on it.

  The tokenizer is that of the script which the references are written in. The
  language counts where the script leaves it open.

  Args:
    language: A code such as "ja", "zh-CN" or "zho_Hans", or None. It need not
      be right: a config for other text files has one too.
    references: All references of a split that will be scored.
    name: Name of the split.

  Returns:
    The metric, and a sentence for each way in which it is not the usual one.

  Raises:
    UserError: if all references are empty.
  """
  tokenizer, sentences = _choose_tokenizer(language, references, name)
  bleu = Bleu(tokenizer)
  orders = bleu.orders(references)
  if not orders:
    raise UserError(
      f"{name}: all {len(references):,} target sentences that would be scored "
      "are empty. Give others."
    )
  if orders < 4:
    bleu = dataclasses.replace(bleu, effective_order=True)
    sentences.append(
      f"{name}: no target sentence has 4 words, and BLEU, which counts groups "
      "of up to 4, would be 0 for right translations too. So groups of up to "
      f"{orders} are counted (eff:yes in sacreBLEU's signature): compare such "
      "scores with each other only. Longer sentences give the usual BLEU."
    )
  return bleu, sentences


def _choose_tokenizer(language, references, name):
  """Returns the name of a tokenizer, and a list of notes on it."""
  code, written = _language_code(language), _written(references)
  reason = f"the target sentences are written in {_NAMES.get(written, written)}"
  # Japanese need not have kana, and there may be little text of the language.
  if (code, written) == ("ja", "zh") or (code in _OF_LANGUAGES and not written):
    written, reason = code, f"data.target_language is {language!r}"
  if not written:
    return "13a", []
  tokenizer, other = _OF_LANGUAGES.get(written, ("char", "char"))
  remedy = ""
  if not _is_installed(tokenizer):
    remedy = (
      f"; {tokenizer}, which is for {_NAMES[written]}, needs a package: pip "
      f"install 'sacrebleu[{written}]'"
    )
    tokenizer = other
  return tokenizer, [
    f"{name}: {reason}, so BLEU takes sacreBLEU's tokenizer {tokenizer}"
    f"{remedy}."
  ]


def _language_code(language):
  """Returns a language without script and country, as ISO 639-1 has it."""
  code = re.split("[-_]", (language or "").strip().lower())[0]
  return core.get_global("language_aliases").get(code, code)


def _written(texts):
  """Returns the value of `_WRITTEN` that texts look like, or None."""
  characters = collections.Counter(itertools.chain.from_iterable(texts))
  letters = {c: count for c, count in characters.items() if c.isalpha()}
  counts = collections.Counter()
  for letter, count in letters.items():
    name = unicodedata.name(letter, "unknown").split()[0]
    if name in _WRITTEN:
      counts[_WRITTEN[name]] += count
  # Japanese has Chinese characters too, but Chinese has no kana.
  if counts["ja"] > _LEAST_SHARE * (counts["ja"] + counts["zh"]):
    counts["ja"] += counts.pop("zh", 0)
  for written, count in counts.most_common(1):
    if count > _LEAST_SHARE * sum(letters.values()):
      return written
  return None


def _is_installed(tokenizer):
  try:
    BLEU(tokenize=tokenizer)
  except RuntimeError:  # It says what to install.
    return False
  return True
