"""The embedded text: the topics of Python's own documentation, in words.

Python brings them along, for `help("for")`. They are English text of 78,000
words, which need no download.

Several topics hold the text of others: "compound" that of "for" and "while". So
each paragraph is used once, and topics that share a paragraph are in one split:
what is evaluated was not trained on.
"""

import collections
import re
from collections.abc import Mapping

from trainers.errors import UserError

UNKNOWN = "<unk>"
SPLITS = ("train", "validation", "test")

# Words that the training text has less often are unknown.
_LEAST_COUNT = 3
# A shorter paragraph, such as "Example:", may be in any topic.
_SHARED_CHARACTERS = 60
_WORD = re.compile(r"[a-z_][a-z0-9_]*(?:'[a-z]+)?|[0-9]+|[^\sa-z0-9_]")
# What underlines a title, and the lines of a table.
_RULE = re.compile(r"[-+=*~|]{4,}")


def make_splits(
  topics: Mapping[str, str] | None = None,
) -> dict[str, list[str]]:
  """Returns the lines of each split, by the names of SPLITS.

  A line is a paragraph: words in lower case, numbers and punctuation marks with
  a space between them. A word that occurs in less than 3 places of the
  training text is `<unk>` everywhere.

  Args:
    topics: Texts by their names; None for those of this Python.

  Raises:
    UserError: if this Python has none.
  """
  if topics is None:
    topics = _topics()
  splits = _divide(_without_copies(topics))
  counts = collections.Counter(
    word for line in splits["train"] for word in line
  )
  return {
    name: [
      " ".join(w if counts[w] >= _LEAST_COUNT else UNKNOWN for w in line)
      for line in lines
    ]
    for name, lines in splits.items()
  }


def _topics():
  try:
    from pydoc_data.topics import topics
  except ImportError as error:
    raise UserError(
      "data.name='pydoc' needs the documentation topics of Python, and this "
      f"Python was installed without them ({error}). Use another Python, or "
      "text files: --config.data.name=text_files --data_dir=DIRECTORY"
    ) from error
  return topics


def _without_copies(topics):
  """Returns groups of paragraphs in words, the largest group first.

  Topics of one group share paragraphs with one another, and with no other.
  """
  paragraphs = {
    name: [
      " ".join(part.split())
      for part in re.split(r"\n\s*\n", _RULE.sub("", text))
    ]
    for name, text in topics.items()
  }
  topic_of = {}  # The first topic that has a paragraph.
  group_of = {name: name for name in paragraphs}
  for name in sorted(paragraphs):
    for paragraph in paragraphs[name]:
      if len(paragraph) >= _SHARED_CHARACTERS:
        first = topic_of.setdefault(paragraph, name)
        old, new = group_of[name], group_of[first]
        for other, group in group_of.items():
          if group == old:
            group_of[other] = new
  seen, groups = set(), collections.defaultdict(list)
  for name in sorted(paragraphs):
    for paragraph in paragraphs[name]:
      words = _WORD.findall(paragraph.lower())
      has_letters = any(word.isalpha() for word in words)
      if paragraph not in seen and has_letters:
        seen.add(paragraph)
        groups[group_of[name]].append(words)

  def size(name):
    return sum(map(len, groups[name]))

  return [groups[name] for name in sorted(groups, key=lambda n: (-size(n), n))]


def _divide(groups):
  """Returns the paragraphs of each split: about a tenth for each evaluation."""
  splits = {name: [] for name in SPLITS}
  for i, paragraphs in enumerate(groups):
    name = {3: "validation", 4: "test"}.get(i % 6, "train")
    splits[name] += paragraphs
  return splits
