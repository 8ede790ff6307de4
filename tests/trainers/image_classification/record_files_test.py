import itertools
import os

import tensorflow as tf
from absl.testing import parameterized

from trainers.image_classification import record_files
from trainers.image_classification.record_files import Extent


class PartOfHostTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.product(hosts=[1, 2, 3, 7, 30])
  def test_each_record_is_in_one_part_of_about_equal_size(self, hosts):
    extents = [Extent("a", 2, 5), Extent("b", 0, 1), Extent("c", 0, 12)]
    everything = [
      (e.path, i) for e in extents for i in range(e.skip, e.skip + e.take)
    ]
    parts = []
    for host in range(hosts):
      part = record_files.part_of_host(extents, host, hosts)
      parts.append(
        [(e.path, i) for e in part for i in range(e.skip, e.skip + e.take)]
      )
    self.assertEqual([*itertools.chain(*parts)], everything)
    sizes = [len(part) for part in parts]
    self.assertGreaterEqual(min(sizes), 18 // hosts)
    self.assertLessEqual(max(sizes), -(-18 // hosts))


class ReadTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.extents = []
    for name, count in (("a", 50), ("b", 70), ("c", 30)):
      path = os.path.join(self.get_temp_dir(), name)
      with tf.io.TFRecordWriter(path) as writer:
        for i in range(count):
          writer.write(f"{name}{i}".encode())
      self.extents.append(Extent(path, 0, count))

  def _read(self, extents, seed=None, buffer=20):
    records = record_files.read(
      extents, None if seed is None else tf.constant(seed, tf.int64), buffer
    )
    return [
      (record.decode(), os.path.basename(path.decode()), int(index))
      for record, path, index in records.as_numpy_iterator()
    ]

  def test_all_records_and_where_they_are_from(self):
    everything = self._read(self.extents)
    self.assertLen(set(everything), 150)
    for record, path, index in everything:
      self.assertEqual(record, f"{path}{index}")
    self.assertEqual(self._read(self.extents), everything)

  def test_extents(self):
    path = self.extents[1].path
    some = self._read([Extent(path, 60, 10), Extent(path, 3, 2)])
    self.assertCountEqual(
      [index for _, _, index in some], [*range(60, 70), 3, 4]
    )

  def test_no_records(self):
    for seed in (None, 1):
      self.assertEqual(self._read([], seed), [])

  def test_the_seed_decides_the_order(self):
    fixed = self._read(self.extents)
    one, same, other = (self._read(self.extents, seed) for seed in (1, 1, 2))
    self.assertEqual(one, same)
    self.assertNotEqual(one, other)
    self.assertNotEqual(one, fixed)
    self.assertCountEqual(one, fixed)
    # Files are shuffled even where the buffer shuffles nothing.
    firsts = set()
    for seed in range(20):
      records = record_files.read(
        self.extents, tf.constant(seed, tf.int64), buffer=1
      )
      firsts.add(next(iter(records))[0].numpy())
      if len(firsts) == 3:
        break
    self.assertLen(firsts, 3)
    # Records of a file are: not in the order of the file.
    indices = [index for _, path, index in one if path == "b"]
    self.assertNotEqual(indices, sorted(indices))

  def test_damage_is_named(self):
    split = record_files.make_split(self.extents, None, None)
    self.assertEqual(split.size, 150)
    self.assertIsNone(split.find_damage())
    path = self.extents[2].path
    with open(path, "r+b") as file:
      file.seek(4 * (16 + len("c0")) + 13)  # In the data of record 4.
      file.write(b"x")
    self.assertIn(f"{path} is damaged at record 4", split.find_damage())


if __name__ == "__main__":
  tf.test.main()
