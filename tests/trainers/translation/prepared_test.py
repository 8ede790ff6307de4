import itertools
import os
import tempfile

import numpy as np
import tensorflow as tf

from tests.trainers.translation import small_text
from trainers.errors import UserError
from trainers.translation import prepared


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


class PreparedTest(tf.test.TestCase):
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
    return prepared.training_rows(split, self.words, max_length, self.directory)

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
    rows = prepared.evaluation_rows(split, self.words, 50)
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
    self.directory = "ram://prepared_test"
    self.test_made_once()
    name = os.path.basename(tf.io.gfile.glob("ram://prepared_test/rows/*")[0])
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
    prepared.training_rows(
      small_text.make_split(), self.words, 64, self.directory, is_chief=False
    )
    self.assertEmpty(os.listdir(self.directory))

  def test_a_disk_that_cannot_be_written(self):
    with open(os.path.join(self.directory, "rows"), "w"):
      pass
    with self.assertRaisesRegex(UserError, "rows.* cannot be written"):
      self._rows(small_text.make_split())


if __name__ == "__main__":
  tf.test.main()
