"""Sentence pairs as rows of tokens: packed, made once, kept in the workdir."""

import dataclasses
import hashlib
import io
import itertools
import json
import os
import warnings
from typing import Any

import numpy as np
import tensorflow as tf
import tqdm

from trainers import files
from trainers.errors import UserError
from trainers.translation.sources import Split
from trainers.translation.vocabulary import PAD, Vocabulary

_PAIRS = 4096  # Tokenized at once.
_FORMAT = 1  # Format of the files of rows; files of another one are not read.
# Pairs that are packed among themselves. More would fill rows no better.
_WINDOW = 512
# Windows at a time, which bounds memory.
_WINDOWS = 512


@dataclasses.dataclass(frozen=True)
class Rows:
  """Sentence pairs, several to a row.

  Attributes:
    tokens: uint16 or int32 of shape (rows, 2, length): sentences of the source
      and of the target, each with an end-of-sentence token, then padding. The
      i-th sentence of one side belongs to the i-th of the other.
    pairs: Number of sentence pairs in the rows.
    empty: How many were left out because a side is empty.
    too_long: How many were left out because a side is longer than a row, or
      were cut.
  """

  tokens: np.ndarray
  pairs: int
  empty: int
  too_long: int

  @property
  def padding(self) -> float:
    """The share of the tokens, both sides together, that is padding."""
    return float(np.mean(self.tokens == PAD))

  def tell(self) -> tuple[str, str]:
    """Returns how much the rows hold, and what was left out, for people."""
    count, _, length = self.tokens.shape
    return (
      f"{self.pairs:,} pairs in {count:,} rows of {length} tokens a side, of "
      f"which {self.padding:.1%} are padding",
      f"{self.empty:,} pairs with an empty side, {self.too_long:,} of more "
      f"than {length} tokens (data.max_length)",
    )

  def describe(self) -> dict[str, Any]:
    """Returns how much the rows hold, JSON-like."""
    rows, _, length = self.tokens.shape
    return {
      "pairs": self.pairs,
      "empty_pairs": self.empty,
      "too_long_pairs": self.too_long,
      "rows": rows,
      "row_length": length,
      "padding": round(self.padding, 4),
    }


def training_rows(
  split: Split,
  vocabulary: Vocabulary,
  max_length: int,
  directory: str,
  is_chief: bool = True,
) -> Rows:
  """Returns the rows to train on, from files in `directory` if there are any.

  Pairs with an empty side are left out, and so are those with more than
  `max_length` tokens on a side, the end of the sentence included.

  Args:
    split: The text.
    vocabulary: Its tokens.
    max_length: Tokens in a row, on each side.
    directory: Of the run. The file's name tells by what it was made.
    is_chief: Whether this process writes the file and shows progress.

  Raises:
    UserError: if nothing is left, or if the file cannot be written.
  """
  made_by = json.dumps(
    [_FORMAT, split.fingerprint, vocabulary.fingerprint, max_length]
  )
  name = f"{split.name}-{hashlib.sha256(made_by.encode()).hexdigest()[:16]}"
  path = os.path.join(directory, "rows", name)
  rows = _read(path)
  if rows is None:
    rows = _pack(split, vocabulary, max_length, cut=False, is_chief=is_chief)
    if is_chief:
      _write(path, rows)
  return rows


def evaluation_rows(
  split: Split, vocabulary: Vocabulary, max_length: int, is_chief: bool = True
) -> Rows:
  """Returns rows with every pair of a split; warns of those that are cut."""
  rows = _pack(split, vocabulary, max_length, cut=True, is_chief=is_chief)
  if rows.too_long and is_chief:
    warnings.warn(
      f"{split.name}: {rows.too_long} of {rows.pairs} pairs have more than "
      f"{max_length} tokens on a side, and are cut to that for the loss.",
      stacklevel=2,
    )
  return rows


def _pack(split, vocabulary, max_length, *, cut, is_chief):
  sides, lengths = ([], []), []
  empty = too_long = 0
  for batch in _tokenize(split, vocabulary, max_length, is_chief):
    size = np.stack([length.numpy() for _, length in batch], axis=1)
    is_long = (size > max_length).any(axis=1)
    # A sentence without text is its end alone.
    is_empty = (size == 1).any(axis=1) & (not cut)
    keep = ~is_empty if cut else ~(is_empty | is_long)
    empty += int(is_empty.sum())
    too_long += int((is_long & ~is_empty).sum())
    size = np.minimum(size, max_length)
    for i, (side, _) in enumerate(batch):
      tokens = side.values.numpy()[np.repeat(keep, size[:, i])]
      sides[i].append(tokens.astype(_dtype(vocabulary)))
    lengths.append(size[keep])
  lengths = np.concatenate(lengths)
  if not len(lengths):
    raise UserError(
      f"No {split.name} pair is left: of {split.size:,} pairs {empty:,} have "
      f"an empty side, and {too_long:,} more than data.max_length={max_length} "
      "tokens."
    )
  sides = tuple(np.concatenate(side) for side in sides)
  # Neighbours in the text should not always be neighbours in a row.
  shuffled = np.random.default_rng(0).permutation(len(lengths))
  rows = np.empty(len(lengths), np.int64)
  rows[shuffled] = assign_rows(lengths[shuffled], max_length)
  tokens = fill_rows(sides, lengths, rows, max_length)
  return Rows(tokens, len(lengths), empty, too_long)


def _dtype(vocabulary):
  return np.uint16 if vocabulary.size <= 1 << 16 else np.int32


def _tokenize(split, vocabulary, max_length, is_chief):
  """Yields batches of pairs: for each side what `tokenize_up_to` returns."""
  pairs = split.read()
  with tqdm.tqdm(
    total=split.size,
    desc=f"Tokenizing {split.name}",
    unit="pair",
    disable=not is_chief,
  ) as progress:
    while batch := list(itertools.islice(pairs, _PAIRS)):
      yield [
        vocabulary.tokenize_up_to(tf.constant(column), max_length)
        for column in zip(*batch)
      ]
      progress.update(len(batch))


def _write(path, rows):
  """Writes the counts, then the tokens.

  If the file of tokens exists, both are complete.
  """
  temporary = f"{path}.tmp"
  counts = {"pairs": rows.pairs, "empty": rows.empty, "too_long": rows.too_long}
  with files.writing(path, on_error=lambda: tf.io.gfile.remove(temporary)):
    tf.io.gfile.makedirs(os.path.dirname(path))
    files.write_whole(f"{path}.json", json.dumps(counts) + "\n")
    with tf.io.gfile.GFile(temporary, "wb") as file:
      np.save(file, rows.tokens, allow_pickle=False)
    tf.io.gfile.rename(temporary, f"{path}.npy", overwrite=True)


def _read(path):
  """Returns the rows in the files at a path; None if missing or damaged."""
  if not tf.io.gfile.exists(f"{path}.npy"):
    return None
  try:
    with tf.io.gfile.GFile(f"{path}.json") as file:
      counts = json.load(file)
    if "://" in path:
      with tf.io.gfile.GFile(f"{path}.npy", "rb") as file:
        tokens = np.load(io.BytesIO(file.read()))
    else:
      tokens = np.load(f"{path}.npy", mmap_mode="r")
    return Rows(tokens, **counts)
  except (EOFError, OSError, ValueError, TypeError, tf.errors.OpError):
    return None


def assign_rows(lengths: np.ndarray, row_length: int) -> np.ndarray:
  """Returns the row that each pair goes into.

  First-fit decreasing: within windows of 512 pairs, the longest first, each
  goes into the first row of its window with room for both of its sides.

  Args:
    lengths: Tokens of the two sides, int of shape (pairs, 2), each at most
      `row_length`.
    row_length: Tokens that a row holds of each side.

  Returns:
    int64 of shape (pairs,): rows are numbered from 0 without a gap.
  """
  rows = np.empty(len(lengths), np.int64)
  used = 0
  step = _WINDOW * _WINDOWS
  for start in range(0, len(lengths), step):
    part = _assign_rows(lengths[start : start + step], row_length)
    rows[start : start + step] = part + used
    used += part.max() + 1
  return rows


def _assign_rows(lengths, row_length):
  """Does what `assign_rows` does, for pairs that are packed at once."""
  windows = -(-len(lengths) // _WINDOW)
  # Pairs without tokens fill up the last window; they fit anywhere.
  sizes = np.zeros((windows * _WINDOW, 2), np.int32)
  sizes[: len(lengths)] = lengths
  sizes = sizes.reshape(windows, _WINDOW, 2)
  order = np.argsort(-sizes.max(axis=2), axis=1, kind="stable")
  every = np.arange(windows)
  # Room in the rows of each window, which all take their next pair together.
  room = np.full((2, windows, 8), row_length, np.int32)
  rows = np.empty((windows, _WINDOW), np.int64)
  for pair in order.T:
    source, target = sizes[every, pair].T
    fits = (room[0] >= source[:, None]) & (room[1] >= target[:, None])
    row = fits.argmax(axis=1)
    if not fits[every, row].all():
      empty = np.full_like(room, row_length)
      row = np.where(fits[every, row], row, room.shape[2])
      room = np.concatenate([room, empty], axis=2)
    room[0, every, row] -= source
    room[1, every, row] -= target
    rows[every, pair] = row
  rows += np.concatenate([[0], np.cumsum(rows.max(axis=1) + 1)[:-1]])[:, None]
  return rows.reshape(-1)[: len(lengths)]


def fill_rows(
  tokens: tuple[np.ndarray, np.ndarray],
  lengths: np.ndarray,
  rows: np.ndarray,
  row_length: int,
) -> np.ndarray:
  """Returns the rows that hold the tokens of all pairs.

  Args:
    tokens: Of the two sides, each all sentences one after another.
    lengths: Tokens of each sentence, int of shape (pairs, 2).
    rows: From `assign_rows`.
    row_length: As there.

  Returns:
    An array of the tokens' dtype and shape (rows, 2, row_length), with zeros
    behind the last sentence. Pairs of a row keep their order.
  """
  packed = np.zeros((rows.max() + 1, 2, row_length), tokens[0].dtype)
  order = np.argsort(rows, kind="stable")
  is_first = np.diff(rows[order], prepend=-1) > 0
  for side in (0, 1):
    ends = np.cumsum(lengths[order, side])
    begins = ends - lengths[order, side]
    # Where in its row each pair begins: behind those before it in that row.
    row_begins = np.maximum.accumulate(np.where(is_first, begins, 0))
    offsets = np.empty_like(begins)
    offsets[order] = begins - row_begins
    starts = np.cumsum(lengths[:, side]) - lengths[:, side]
    for first in range(0, len(rows), 1 << 16):  # Bounds memory.
      part = slice(first, first + (1 << 16))
      length = lengths[part, side]
      # Every token: its row, and its place in it.
      within = np.arange(length.sum()) - np.repeat(
        np.cumsum(length) - length, length
      )
      text = tokens[side][starts[first] : starts[first] + length.sum()]
      places = np.repeat(offsets[part], length) + within
      packed[np.repeat(rows[part], length), side, places] = text
  return packed
