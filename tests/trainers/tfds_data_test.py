import itertools
import os
import tempfile

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from absl.testing import parameterized
from array_record.python import array_record_module

from trainers.tfds_data import ArrayRecords

_SIZE = 23


class ArrayRecordsTest(tf.test.TestCase, parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.builder = tfds.dataset_builders.store_as_tfds_dataset(
      name="numbers",
      version="1.0.0",
      features=tfds.features.FeaturesDict({"number": np.int64}),
      split_datasets={
        "train": tf.data.Dataset.range(_SIZE).map(lambda i: {"number": i})
      },
      data_dir=tempfile.mkdtemp(dir=tf.compat.v1.test.get_temp_dir()),
      file_format="array_record",
      download_config=tfds.download.DownloadConfig(num_shards=3),
    )
    # What is in the files, read by their own package.
    cls.everything = []
    for file in cls.builder.info.splits["train"].filenames:
      path = os.path.join(cls.builder.data_dir, file)
      reader = array_record_module.ArrayRecordReader(path)
      cls.everything += [
        (reader.read([i])[0], path, i) for i in range(reader.num_records())
      ]

  @parameterized.parameters(
    ("train", 0, _SIZE), ("train[:5]", 0, 5), ("train[6:21]", 6, 21)
  )
  def test_records_and_where_they_are_from(self, split, first, end):
    records = ArrayRecords(self.builder, split)
    self.assertLen(records, end - first)
    found = []
    for number in records.numbers(0, 1, None):
      path, index = records.place(number)
      record = records.read(number).numpy()
      found.append((record, path.numpy().decode(), int(index)))
    self.assertEqual(found, self.everything[first:end])
    self.assertEqual(
      [r.numpy() for r in records.dataset()],
      [record for record, _, _ in self.everything[first:end]],
    )
    self.assertIsNone(records.find_damage())

  @parameterized.product(hosts=(1, 2, 3, 30), seed=(None, 7))
  def test_each_number_is_in_one_part_of_about_equal_size(self, hosts, seed):
    records = ArrayRecords(self.builder, "train")
    parts = [
      [
        int(i)
        for i in records.numbers(
          host, hosts, None if seed is None else tf.constant(seed, tf.int64)
        )
      ]
      for host in range(hosts)
    ]
    self.assertCountEqual(itertools.chain(*parts), range(_SIZE))
    sizes = [len(part) for part in parts]
    self.assertGreaterEqual(min(sizes), _SIZE // hosts)
    self.assertLessEqual(max(sizes), -(-_SIZE // hosts))

  def test_the_seed_decides_the_order(self):
    records = ArrayRecords(self.builder, "train")

    def order(seed):
      return [
        int(i) for i in records.numbers(0, 1, tf.constant(seed, tf.int64))
      ]

    self.assertEqual(order(1), order(1))
    self.assertNotEqual(order(1), order(2))
    self.assertNotEqual(order(1), sorted(order(1)))

  def test_an_error_is_one_of_the_input(self):
    records = ArrayRecords(self.builder, "train")
    numbers = tf.data.Dataset.range(_SIZE, _SIZE + 1)
    with self.assertRaisesRegex(
      tf.errors.InvalidArgumentError, "ValueError: Record key should be"
    ):
      next(iter(numbers.map(records.read)))


if __name__ == "__main__":
  tf.test.main()
