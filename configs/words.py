"""The words of --config=configs/NAME.py:WORDS, which choose an experiment."""

import argparse
import dataclasses
import difflib
import sys


@dataclasses.dataclass(frozen=True)
class Words:
  """The words that one config file takes.

  Attributes:
    page: What the word help prints: the docstring of the file.
    one_of: Tuples of alternatives. One alternative of each tuple holds, by
      default the first. An alternative is a word, or several words such as
      "adamw,lookahead".
    any_of: Words that can be added.
    exclude: Pairs of words that exclude each other for another reason.
  """

  page: str
  one_of: tuple[tuple[str, ...], ...] = ()
  any_of: tuple[str, ...] = ()
  exclude: tuple[tuple[str, str], ...] = ()

  def choose(self, text: str) -> frozenset[str]:
    """Returns the words in `text`, and the defaults for what `text` leaves out.

    The word help prints the page and ends the program with status 0.

    Args:
      text: Words in any order with commas between them. Spaces around a word
        do not count.

    Raises:
      argparse.ArgumentTypeError: if a word does not exist, stands twice or
        excludes another one.
    """
    given = [word.strip() for word in text.split(",")] if text.strip() else []
    if "help" in given:
      print(self.page.strip())
      sys.exit(0)
    known = {*self.any_of}.union(*map(_words_of, self.one_of))
    for word in given:
      if word not in known:
        close = difflib.get_close_matches(word, known, 1)
        hint = f". Did you mean {close[0]}?" if close else "."
        self._refuse(f"{word!r} is not a word of this file{hint}")
      if given.count(word) > 1:
        self._refuse(f"{word} stands twice.")
    chosen = {*given}
    for alternatives in self.one_of:
      named = [word for word in given if word in _words_of(alternatives)]
      if not named:
        chosen |= _words_of(alternatives[:1])
      elif {*named} not in [_words_of([one]) for one in alternatives]:
        self._refuse(f"{' and '.join(named)} exclude each other.")
    for pair in self.exclude:
      if chosen.issuperset(pair):
        self._refuse(f"{' and '.join(pair)} exclude each other.")
    return frozenset(chosen)

  def _refuse(self, problem):
    """Raises an error that names the problem and all words."""
    menu = [" | ".join(alternatives) for alternatives in self.one_of]
    raise argparse.ArgumentTypeError(
      f"{problem} Words: {', '.join([*menu, *self.any_of, 'help'])}"
    )


def _words_of(alternatives):
  """Returns the single words of some alternatives."""
  return {word for one in alternatives for word in one.split(",")}
