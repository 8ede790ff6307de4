"""Sentence pairs packed into rows of one length, so that little is padding."""

import numpy as np

# Pairs that are packed among themselves. More would fill rows no better.
_WINDOW = 512
# Windows at a time, which bounds memory.
_WINDOWS = 512


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
  """The same for as many pairs as are packed at once."""
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
