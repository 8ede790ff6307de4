"""A text cut into columns, and columns cut into segments of several lengths.

Truncated back-propagation goes through one segment at a time, and the state of
the LSTM is carried from a segment to the next of the same column.
"""

import dataclasses

import numpy as np

from trainers.errors import UserError
from trainers.language_modeling.vocabulary import END

_END = 0  # The number of END, which stands before the first word of a text.
# Of the reference implementation: how often a length is drawn around `bptt`
# rather than around its half, the standard deviation and the least length.
_LONG = 0.95
_DEVIATION = 5.0
_LEAST = 5


@dataclasses.dataclass(frozen=True)
class Lengths:
  """The lengths of segments.

  Attributes:
    bptt: The usual length.
    fixed: The lengths that occur, increasing: a program is compiled for each.

  Raises:
    UserError: if these are no lengths.
  """

  bptt: int
  fixed: tuple[int, ...]

  def __post_init__(self):
    if self.bptt < 1:
      raise UserError(f"bptt must be positive. Received: {self.bptt}")
    if (
      not self.fixed
      or self.fixed[0] < 1
      or list(self.fixed) != sorted({*self.fixed})
    ):
      raise UserError(
        "bptt_lengths must hold increasing positive lengths, such as "
        f"(35, 65, 75). Received: {self.fixed}"
      )

  @property
  def longest(self) -> int:
    """The greatest length that occurs."""
    return self.fixed[-1]

  def draw(self, count: int, seed: int) -> np.ndarray:
    """Returns lengths of segments, int64 of shape (count,).

    A length is normally distributed with the standard deviation 5 around
    `bptt`, or around half of it in 5 % of the segments, and at least 5, as in
    the reference implementation (Merity, Keskar and Socher 2017, section 5).
    It is then rounded to the nearest of `fixed`.
    """
    random = np.random.default_rng(seed)
    center = np.where(random.random(count) < _LONG, self.bptt, self.bptt / 2)
    drawn = np.maximum(_LEAST, random.normal(center, _DEVIATION).astype(int))
    fixed = np.array(self.fixed)
    return fixed[np.abs(drawn[:, np.newaxis] - fixed).argmin(axis=1)]


class Segments:
  """The segments of all epochs.

  Lengths are drawn once, and each epoch takes them in an order of its own: so
  all epochs have as many steps. The last segment of an epoch is what is left
  of the columns.

  Args:
    column_length: Words in a column, 1 or more.
    lengths: Of segments.
    seed: Decides lengths and orders.
  """

  def __init__(self, column_length: int, lengths: Lengths, seed: int):
    self.lengths, self._seed = lengths, seed
    enough = -(-column_length // lengths.fixed[0])
    drawn = lengths.draw(enough, seed)
    before = np.cumsum(drawn) - drawn
    drawn = drawn[before < column_length]
    self._whole = drawn[:-1]
    self._last = column_length - self._whole.sum()

  @property
  def steps_per_epoch(self) -> int:
    """Segments in an epoch."""
    return len(self._whole) + 1

  def of_epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns where the segments of an epoch begin, and their lengths.

    Args:
      epoch: Counted from 0.

    Returns:
      int64 of shape (steps_per_epoch,), two times. The last length may be none
      of the fixed ones.
    """
    random = np.random.default_rng((self._seed, epoch))
    sizes = np.append(random.permutation(self._whole), self._last)
    return np.cumsum(sizes) - sizes, sizes

  def table(self, epochs: int) -> "Table":
    """Returns the segments of the first `epochs` epochs."""
    starts, sizes = zip(*map(self.of_epoch, range(epochs)))
    sizes = np.concatenate(sizes)
    return Table(
      starts=np.concatenate(starts).astype(np.int32),
      sizes=sizes.astype(np.int32),
    )


@dataclasses.dataclass(frozen=True)
class Table:
  """What each step trains on.

  Attributes:
    starts: int32 of shape (steps,): where in the columns its segment begins.
    sizes: Likewise, how many words of each column the segment has.
  """

  starts: np.ndarray
  sizes: np.ndarray


def training_columns(tokens: np.ndarray, columns: int) -> np.ndarray:
  """Returns a text in columns of equal length, each as a row.

  The remainder, which is less than a word a column, is left out.

  Args:
    tokens: int32 of shape (words,).
    columns: How many.

  Returns:
    int32 of shape (columns, length + 1): the words of a column, with the word
    before them in front. Before the text stands the end of a line.
  """
  length = len(tokens) // columns
  before = np.concatenate([[_END], tokens])
  starts = np.arange(columns) * length
  return before[starts[:, np.newaxis] + np.arange(length + 1)].astype(np.int32)


def evaluation_columns(
  tokens: np.ndarray, columns: int, context: int
) -> tuple[np.ndarray, np.ndarray]:
  """Returns a text in columns that count each of its words once.

  The state of an LSTM is 0 where a column begins. So each column but the first
  begins `context` words early, and these count in the column before only.

  Args:
    tokens: int32 of shape (words,).
    columns: How many.
    context: Words before those that count.

  Returns:
    int32 of shape (columns, length + 1) as of `training_columns`, and float32
    of shape (columns, length): 1 for a word that counts, else 0.
  """
  words = len(tokens)
  context = min(context, words - 1)
  stride = -(-(words - context) // columns)
  places = np.arange(context + stride) + np.arange(columns)[:, None] * stride
  counts = (np.arange(context + stride) >= context) & (places < words)
  counts[0] = places[0] < words
  before = np.concatenate([[_END], tokens])
  missing = max(0, places[-1, -1] + 2 - len(before))
  before = np.pad(before, (0, missing))
  rows = np.concatenate([places, places[:, -1:] + 1], axis=1)
  return before[rows].astype(np.int32), counts.astype(np.float32)


def evaluation_column_count(words: int, columns: int, context: int) -> int:
  """Returns how many columns to evaluate a text in.

  A column is no shorter than its context: more columns would read more words of
  context than words that count.

  Args:
    words: How many the text has.
    columns: The most that there are to be.
    context: Words before those that count.
  """
  return min(columns, max(1, words // context - 1)) if context else columns


def check_columns(
  words: int, columns: int, bptt: int, name: str, field: str
) -> None:
  """Raises a UserError if a text has less than a segment for each column.

  Args:
    words: How many the text has, with ends of lines.
    columns: How many there are to be.
    bptt: The usual length of a segment.
    name: What the text is called.
    field: The field of the config that says how many columns there are.
  """
  if words // columns < bptt:
    most = words // bptt
    remedy = (
      f"{field} of {most} or less, or a smaller bptt, would do"
      if most
      else "it needs a longer text, or a smaller bptt"
    )
    raise UserError(
      f"{field}={columns} columns of at least bptt={bptt} words are more than "
      f"the {words:,} words of {name}, with an {END} for each line: {remedy}."
    )
