import itertools
import os
import tempfile

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from tests.trainers.image_classification import photos
from tests.trainers.image_classification.stored_images import (
  write_imagenet,
  write_tfrecords,
)
from trainers.errors import UserError
from trainers.image_classification import sources, splits


class SourcesTest(tf.test.TestCase, parameterized.TestCase):
  def test_digits(self):
    source = sources.load("digits")
    self.assertEqual((source.train.size, source.validation.size), (1437, 360))
    self.assertLen(source.class_names, 10)
    train = list(source.train.examples.as_numpy_iterator())
    validation = list(source.validation.examples.as_numpy_iterator())
    self.assertLen(train, 1437)
    images = np.stack([image for image, _ in train + validation])
    self.assertEqual(images.shape, (1797, 8, 8, 1))
    self.assertEqual((images.min(), images.max()), (0, 255))
    # Stratified: each digit is a tenth of both.
    for split in (train, validation):
      counts = np.bincount([label for _, label in split]) / len(split)
      self.assertAllClose(counts, [0.1] * 10, atol=0.005)
    # No image in both: fewer than the few that the data set itself repeats.
    self.assertLess(
      len(
        {i.tobytes() for i, _ in train} & {i.tobytes() for i, _ in validation}
      ),
      5,
    )

  @parameterized.product(
    name=("image_folder", "tfrecords", "imagenet2012"),
    folder=("data[12]", "data*/", "da?a1", "da\\ta1", "da {ta}"),
  )
  def test_folders_whose_names_are_patterns(self, name, folder):
    root = tempfile.mkdtemp(dir=self.get_temp_dir())

    def write(folder, images):
      directory = os.path.join(root, folder)
      os.makedirs(directory)
      if name == "imagenet2012":
        # TFDS itself globs while it writes.
        write_imagenet(os.path.join(root, "new"), images, files=1)
        os.rename(os.path.join(root, "new"), directory)
      for split in ("train", "validation"):
        if name == "tfrecords":
          write_tfrecords(directory, split, images, files=1)
        if name == "image_folder":
          os.makedirs(os.path.join(directory, split, "cat[s]"))
          for i, image in enumerate(images):
            path = os.path.join(directory, split, "cat[s]", f"{i}?.jpg")
            with open(path, "wb") as file:
              file.write(image)

    own = [photos.jpeg(seed=i) for i in range(3)]
    write(folder, own)
    write("data1", [photos.jpeg(seed=10)])  # Which a pattern would match.
    source = sources.load(name, os.path.join(root, folder))
    for split in (source.train, source.validation):
      self.assertEqual(split.size, 3)
      images = [
        split.load(*record).image.numpy()
        for record in split.records(0, 1, None, 1)
      ]
      self.assertCountEqual(images, own)

  @parameterized.parameters(
    ("image_folder", "a folder with train/CLASS"),
    ("tfrecords", "a folder with files train-00000-of-01024"),
    ("cifarr10", "'cifarr10' is unknown.*'digits', .*'cifar10_binary'"),
  )
  def test_the_name_decides(self, name, message):
    with self.assertRaisesRegex(UserError, message):
      sources.load(name)


class MadeUpTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.parameters(
    ("imagenet2012", 1_281_167, 50_000, 1000, 3),
    ("tfrecords", 1_281_167, 50_000, 1000, 3),
    ("image_folder", 1_281_167, 50_000, 1000, 3),
    ("cifar100", 50_000, 10_000, 100, 3),
    ("cifar10_binary", 50_000, 10_000, 10, 3),
    ("digits", 1_437, 360, 10, 1),
  )
  def test_as_large_as_the_real_ones(
    self, name, train, validation, classes, channels
  ):
    source = sources.load(name, fake_data=True)
    self.assertEqual(source.train.size, train)
    self.assertEqual(source.validation.size, validation)
    self.assertLen(source.class_names, classes)
    self.assertEqual(source.channels, channels)
    self.assertTrue(source.describe()["fake"])
    for host in (0, 1):
      records = source.validation.records(host, 2, None, 1)
      self.assertEqual(int(records.cardinality()), validation // 2)

  def test_real_sources_do_not_say_that_they_are_fake(self):
    self.assertNotIn("fake", sources.load("digits").describe())

  def test_unknown_size(self):
    with self.assertRaisesRegex(UserError, "but not of data.name='mnist'"):
      sources.load("mnist", fake_data=True)


class ArraysTest(tf.test.TestCase, parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.images = np.arange(7, dtype="uint8")[:, None, None, None]
    self.split = splits.of_arrays(self.images, np.arange(7)[::-1])

  def _read(self, host, hosts, seed=None):
    if seed is not None:
      seed = tf.constant(seed, tf.int64)
    records = self.split.records(host, hosts, seed, 1)
    return [
      (image.item(), int(label))
      for image, label in records.map(self.split.decode).as_numpy_iterator()
    ]

  def test_all_in_their_order(self):
    self.assertEqual((self.split.size, self.split.channels), (7, 1))
    self.assertEqual(self._read(0, 1), [(i, 6 - i) for i in range(7)])

  @parameterized.parameters(2, 3, 9)
  def test_each_is_on_one_host(self, hosts):
    for seed in (None, 1):
      parts = [self._read(host, hosts, seed) for host in range(hosts)]
      self.assertCountEqual(itertools.chain(*parts), self._read(0, 1))
      self.assertGreaterEqual(min(map(len, parts)), 7 // hosts)

  def test_the_seed_decides_the_order(self):
    one, same, other = (self._read(0, 1, seed) for seed in (1, 1, 2))
    self.assertEqual(one, same)
    self.assertNotEqual(one, other)
    self.assertNotEqual(one, self._read(0, 1))


if __name__ == "__main__":
  tf.test.main()
