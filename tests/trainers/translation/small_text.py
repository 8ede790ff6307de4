"""A small text, and a vocabulary of it, that tests share."""

import functools
import tempfile

from trainers.translation import vocabulary
from trainers.translation.sources import Split

_ADJECTIVES = (
  ("old", "alte"),
  ("young", "junge"),
  ("tall", "große"),
  ("clever", "kluge"),
  ("quiet", "stille"),
)
_NOUNS = (
  ("man", "Mann"),
  ("dog", "Hund"),
  ("king", "König"),
  ("baker", "Bäcker"),
  ("teacher", "Lehrer"),
  ("fox", "Fuchs"),
  ("gardener", "Gärtner"),
)
_PAIRS = [
  (f"The {a} {b} sees {n} birds.", f"Der {c} {d} sieht {n} Vögel.")
  for n in (3, 12, 407, 5)
  for a, c in _ADJECTIVES
  for b, d in _NOUNS
]


def make_split(pairs=_PAIRS, name="train", fingerprint="small") -> Split:
  """Returns a split of these pairs."""
  return Split(name, len(pairs), fingerprint, lambda: iter(pairs))


def recipe(**fields) -> vocabulary.Recipe:
  """Returns how to train a vocabulary, of 60 subwords unless told otherwise."""
  return vocabulary.Recipe(
    **{
      "kind": "unigram",
      "size": 60,
      "character_coverage": 1.0,
      "byte_fallback": False,
      "split_digits": True,
      "max_sentences": 1000,
      **fields,
    }
  )


def make_vocabulary(**fields) -> vocabulary.Vocabulary:
  """Returns a vocabulary of the text; see `recipe`."""
  # Another object for each test: a test's end frees its resources.
  return vocabulary.Vocabulary(_model(**fields))


@functools.cache
def _model(**fields):
  with tempfile.TemporaryDirectory() as directory:
    return vocabulary.load_or_train(
      make_split(), recipe(**fields), directory
    ).model
