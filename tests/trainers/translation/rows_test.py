import itertools
import os
import tempfile

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from tests.trainers.translation import small_text
from trainers.errors import UserError
from trainers.translation import rows as rows_lib


def _sentences(row):
  """The sentences of one side of a row, without their ends."""
  tokens = row.tolist()
  found, rest = [], tokens
  while 1 in rest:
    end = rest.index(1)
    found.append(tuple(rest[:end]))
    rest = rest[end + 1 :]
  assert not any(rest), "Only padding follows the last sentence."
  return found


def _pairs(rows):
  """All pairs of rows, as tokens."""
  pairs = []
  for source, target in rows.tokens:
    sides = _sentences(source), _sentences(target)
    assert len(sides[0]) == len(sides[1])
    pairs += zip(*sides)
  return pairs


class RowsTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.directory = tempfile.mkdtemp(dir=self.get_temp_dir())
    self.words = small_text.make_vocabulary()

  def _tokens(self, pairs, most=10_000):
    return [
      tuple(
        tuple(ids[:-1][: most - 1])
        for ids in self.words.tokenize(list(pair)).to_list()
      )
      for pair in pairs
    ]

  def _rows(self, split, max_length=64):
    return rows_lib.training_rows(split, self.words, max_length, self.directory)

  def test_every_pair_once(self):
    split = small_text.make_split()
    rows = self._rows(split)
    self.assertCountEqual(_pairs(rows), self._tokens(split.read()))
    self.assertEqual((rows.pairs, rows.empty, rows.too_long), (140, 0, 0))
    self.assertEqual(rows.tokens.dtype, np.uint16)
    count = len(rows.tokens)
    self.assertEqual(rows.tokens.shape, (count, 2, 64))
    used = sum(len(s) + len(t) + 2 for s, t in _pairs(rows))
    self.assertAlmostEqual(rows.padding, 1 - used / (count * 2 * 64))
    self.assertEqual(
      rows.describe(),
      {
        "pairs": 140,
        "empty_pairs": 0,
        "too_long_pairs": 0,
        "rows": count,
        "row_length": 64,
        "padding": round(rows.padding, 4),
      },
    )

  def test_empty_and_long_pairs_are_left_out_and_counted(self):
    good = list(small_text.make_split().read())
    bad = [
      ("", ""),
      ("The old man", ""),
      ("", "Der alte Mann"),
      ("The old man " * 10_000, "Der alte Mann"),
      ("The old man", "Der alte Mann " * 30),
      ("", "Der alte Mann " * 30),
    ]
    split = small_text.make_split(good + bad, fingerprint="bad")
    rows = self._rows(split)
    self.assertCountEqual(_pairs(rows), self._tokens(good))
    self.assertEqual((rows.pairs, rows.empty, rows.too_long), (140, 4, 2))

  def test_the_length_includes_the_end(self):
    (pair,) = self._tokens([("The old man", "Der alte Mann")])
    longest = max(map(len, pair))
    split = small_text.make_split([("The old man", "Der alte Mann")])
    self.assertEqual(_pairs(self._rows(split, longest + 1)), [pair])
    with self.assertRaisesRegex(
      UserError,
      f"No train pair is left: .* 1 more than data.max_length={longest} tokens",
    ):
      self._rows(split, longest)

  def test_evaluation_keeps_every_pair_and_cuts_the_long(self):
    pairs = [
      ("", ""),
      ("The old man", ""),
      ("The old man " * 100, "Der alte Mann"),
      *small_text.make_split().read(),
    ]
    split = small_text.make_split(pairs, "validation")
    rows = rows_lib.evaluation_rows(split, self.words, 50)
    self.assertCountEqual(_pairs(rows), self._tokens(pairs, 50))
    self.assertEqual((rows.pairs, rows.empty, rows.too_long), (143, 0, 1))

  def test_made_once(self):
    split = small_text.make_split()
    rows = self._rows(split)
    unreadable = small_text.Split("train", split.size, "small", lambda: 1 / 0)
    again = self._rows(unreadable)
    self.assertAllEqual(again.tokens, rows.tokens)
    self.assertEqual(again.describe(), rows.describe())
    with self.assertRaises(ZeroDivisionError):
      self._rows(unreadable, max_length=32)
    other = small_text.Split("train", split.size, "other", lambda: 1 / 0)
    with self.assertRaises(ZeroDivisionError):
      self._rows(other)

  def test_a_directory_that_is_not_on_a_disk(self):
    self.directory = "ram://rows_test"
    self.test_made_once()
    name = os.path.basename(tf.io.gfile.glob("ram://rows_test/rows/*")[0])
    self.assertStartsWith(name, "train-")

  def test_damaged_files_are_made_again(self):
    split = small_text.make_split()
    rows = self._rows(split)
    directory = os.path.join(self.directory, "rows")
    for name, size in itertools.product(sorted(os.listdir(directory)), (20, 0)):
      os.truncate(os.path.join(directory, name), size)
      self.assertAllEqual(self._rows(split).tokens, rows.tokens)
      self.assertAllEqual(self._rows(split).tokens, rows.tokens)

  def test_others_than_the_chief_write_nothing(self):
    rows_lib.training_rows(
      small_text.make_split(), self.words, 64, self.directory, is_chief=False
    )
    self.assertEmpty(os.listdir(self.directory))

  def test_a_disk_that_cannot_be_written(self):
    with open(os.path.join(self.directory, "rows"), "w"):
      pass
    with self.assertRaisesRegex(UserError, "rows.* cannot be written"):
      self._rows(small_text.make_split())


def _random_lengths(pairs, longest, seed=0):
  """Lengths like those of sentences: few long ones, sides alike."""
  rng = np.random.default_rng(seed)
  one = rng.gamma(3, longest / 12, pairs)
  two = one * rng.normal(1.05, 0.15, pairs)
  return np.clip(np.rint(np.stack([one, two], 1)), 1, longest).astype(int)


def _first_fit(lengths, row_length):
  """First-fit decreasing for one window, as one would write it by hand."""
  rooms, rows = [], [None] * len(lengths)
  for pair in sorted(range(len(lengths)), key=lambda i: -max(lengths[i])):
    one, two = lengths[pair]
    fitting = [i for i, (a, b) in enumerate(rooms) if a >= one and b >= two]
    if not fitting:
      fitting = [len(rooms)]
      rooms.append([row_length, row_length])
    row = fitting[0]
    rooms[row][0] -= one
    rooms[row][1] -= two
    rows[pair] = row
  return rows


class PackingTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.parameters(1, 2, 40, 511, 512)
  def test_a_window_is_packed_by_first_fit(self, pairs):
    lengths = _random_lengths(pairs, 32)
    self.assertAllEqual(
      rows_lib.assign_rows(lengths, 32), _first_fit(lengths.tolist(), 32)
    )

  def test_windows_follow_one_another(self):
    lengths = _random_lengths(512 * 3 + 100, 32)
    expected, used = [], 0
    for start in range(0, len(lengths), 512):
      rows = _first_fit(lengths[start : start + 512].tolist(), 32)
      expected += [row + used for row in rows]
      used += max(rows) + 1
    self.assertAllEqual(rows_lib.assign_rows(lengths, 32), expected)

  def test_more_windows_than_are_packed_at_once(self):
    lengths = _random_lengths(512 * 512 + 700, 8)
    rows = rows_lib.assign_rows(lengths, 8)
    self.assertAllEqual(
      rows[512 * 512 :] - rows[512 * 512 :].min(),
      rows_lib.assign_rows(lengths[512 * 512 :], 8),
    )
    self.assertEqual(rows[512 * 512 :].min(), rows[: 512 * 512].max() + 1)
    self.assertAllEqual(np.unique(rows), np.arange(rows.max() + 1))

  @parameterized.parameters(32, 64, 256)
  def test_little_is_padding(self, row_length):
    lengths = _random_lengths(20_000, row_length)
    rows = rows_lib.assign_rows(lengths, row_length)
    capacity = (rows.max() + 1) * row_length * 2
    self.assertLess(1 - lengths.sum() / capacity, 0.1)
    for side in (0, 1):
      used = np.bincount(rows, lengths[:, side])
      self.assertBetween(used, 1, row_length)

  def assertBetween(self, values, least, most):
    self.assertGreaterEqual(values.min(), least)
    self.assertLessEqual(values.max(), most)

  def test_pairs_that_fill_a_row_each(self):
    lengths = np.full((600, 2), 16)
    self.assertCountEqual(rows_lib.assign_rows(lengths, 16), range(600))

  @parameterized.parameters(1, 10, 3000)
  def test_rows_hold_the_tokens(self, pairs):
    lengths = _random_lengths(pairs, 16, seed=1)
    rng = np.random.default_rng(2)
    texts = [
      [rng.integers(1, 60_000, n).astype(np.uint16) for n in side]
      for side in lengths.T
    ]
    rows = rows_lib.assign_rows(lengths, 16)
    packed = rows_lib.fill_rows(
      tuple(map(np.concatenate, texts)), lengths, rows, 16
    )
    self.assertEqual(packed.dtype, np.uint16)
    for row in range(rows.max() + 1):
      for side in (0, 1):
        expected = [texts[side][i] for i in np.flatnonzero(rows == row)]
        text = np.concatenate(expected)
        self.assertAllEqual(packed[row, side, : len(text)], text)
        self.assertFalse(packed[row, side, len(text) :].any())

  def test_large_texts_are_filled_in_parts(self):
    pairs = (1 << 16) + 10
    lengths = np.ones((pairs, 2), int)
    tokens = np.arange(pairs, dtype=np.int32) + 1
    rows = np.arange(pairs) // 4
    packed = rows_lib.fill_rows((tokens, -tokens), lengths, rows, 4)
    self.assertAllEqual(packed[:, 0].reshape(-1)[:pairs], tokens)
    self.assertAllEqual(packed[:, 1].reshape(-1)[:pairs], -tokens)


if __name__ == "__main__":
  tf.test.main()
