import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from trainers.translation import packing


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
      packing.assign_rows(lengths, 32), _first_fit(lengths.tolist(), 32)
    )

  def test_windows_follow_one_another(self):
    lengths = _random_lengths(512 * 3 + 100, 32)
    expected, used = [], 0
    for start in range(0, len(lengths), 512):
      rows = _first_fit(lengths[start : start + 512].tolist(), 32)
      expected += [row + used for row in rows]
      used += max(rows) + 1
    self.assertAllEqual(packing.assign_rows(lengths, 32), expected)

  def test_more_windows_than_are_packed_at_once(self):
    lengths = _random_lengths(512 * 512 + 700, 8)
    rows = packing.assign_rows(lengths, 8)
    self.assertAllEqual(
      rows[512 * 512 :] - rows[512 * 512 :].min(),
      packing.assign_rows(lengths[512 * 512 :], 8),
    )
    self.assertEqual(rows[512 * 512 :].min(), rows[: 512 * 512].max() + 1)
    self.assertAllEqual(np.unique(rows), np.arange(rows.max() + 1))

  @parameterized.parameters(32, 64, 256)
  def test_little_is_padding(self, row_length):
    lengths = _random_lengths(20_000, row_length)
    rows = packing.assign_rows(lengths, row_length)
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
    self.assertCountEqual(packing.assign_rows(lengths, 16), range(600))

  @parameterized.parameters(1, 10, 3000)
  def test_rows_hold_the_tokens(self, pairs):
    lengths = _random_lengths(pairs, 16, seed=1)
    rng = np.random.default_rng(2)
    texts = [
      [rng.integers(1, 60_000, n).astype(np.uint16) for n in side]
      for side in lengths.T
    ]
    rows = packing.assign_rows(lengths, 16)
    packed = packing.fill_rows(
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
    packed = packing.fill_rows((tokens, -tokens), lengths, rows, 4)
    self.assertAllEqual(packed[:, 0].reshape(-1)[:pairs], tokens)
    self.assertAllEqual(packed[:, 1].reshape(-1)[:pairs], -tokens)


if __name__ == "__main__":
  tf.test.main()
