import os
from unittest import mock

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from tests.trainers.image_classification import photos
from tests.trainers.image_classification.stored_images import (
  write_imagenet,
  write_tfrecords,
)
from trainers.errors import UserError
from trainers.image_classification import fingerprints, sources


class FilesTest(tf.test.TestCase, parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.root = os.path.join(self.get_temp_dir(), self.id().split()[0])
    self.paths = [os.path.join(self.root, name) for name in ("a", "b/c")]
    os.makedirs(os.path.join(self.root, "b"))
    for path in self.paths:
      self._write(path, "1234")

  def _write(self, path, text):
    with open(path, "w") as file:
      file.write(text)

  def _fingerprint(self):
    return fingerprints.of_files(self.paths, self.root)

  def test_the_same_files_elsewhere(self):
    before = self._fingerprint()
    os.rename(self.root, f"{self.root} elsewhere")
    self.root += " elsewhere"
    self.paths = [os.path.join(self.root, name) for name in ("a", "b/c")]
    self.assertEqual(self._fingerprint(), before)

  @parameterized.parameters(
    (2**20, "content", True),
    (2**20, "size", True),
    (2**20, "name", True),
    (7, "content", False),  # Of 8 bytes: contents are not looked at.
    (7, "size", True),
    (7, "name", True),
  )
  def test_what_is_noticed(self, limit, what, is_noticed):
    with mock.patch.object(fingerprints, "CONTENTS_UP_TO", limit):
      before = self._fingerprint()
      if what == "content":
        self._write(self.paths[1], "1235")
      if what == "size":
        self._write(self.paths[1], "123456789")
      if what == "name":
        self.paths[1] += "d"
        self._write(self.paths[1], "1234")
      self.assertEqual(self._fingerprint() != before, is_noticed)

  def test_files_that_are_gone(self):
    os.remove(self.paths[0])
    with self.assertRaisesRegex(UserError, f"{self.paths[0]} cannot be read"):
      self._fingerprint()


class SourcesTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.parameters("tfrecords", "imagenet2012", "array_record")
  def test_a_record_that_was_replaced(self, name):
    found = []
    for last in (2, 3):
      directory = os.path.join(self.get_temp_dir(), self.id().split()[0])
      directory += str(last)
      images = [photos.jpeg(seed=seed) for seed in (0, 1, last)]
      if name == "tfrecords":
        for split in ("train", "validation"):
          write_tfrecords(directory, split, images, 1)
      else:
        file_format = {} if name == "imagenet2012" else {"file_format": name}
        write_imagenet(directory, images, files=1, **file_format)
      data = "tfrecords" if name == "tfrecords" else "imagenet2012"
      source = sources.load(data, directory)
      found.append(source.describe())
      self.assertEqual(sources.load(data, directory).describe(), found[-1])
    self.assertEqual(found[0]["train_size"], found[1]["train_size"])
    for split in ("train", "validation"):
      self.assertNotEqual(*(one[f"{split}_fingerprint"] for one in found))

  def test_parts_of_one_file(self):
    directory = os.path.join(self.get_temp_dir(), self.id())
    write_imagenet(directory, [photos.jpeg(seed=i) for i in range(4)], files=1)
    first, second = (
      sources.load("imagenet2012", directory, part).train.fingerprint()
      for part in ("train[:2]", "train[2:]")
    )
    self.assertNotEqual(first, second)

  def test_arrays(self):
    digits = sources.load("digits").describe()
    self.assertEqual(sources.load("digits").describe(), digits)
    self.assertNotEqual(
      digits["train_fingerprint"], digits["validation_fingerprint"]
    )
    one = np.arange(6, dtype="uint8")
    other = one.copy()
    other[3] = 9
    for array in (other, one.reshape(2, 3), one.astype("int16")):
      self.assertNotEqual(
        fingerprints.of_arrays(one), fingerprints.of_arrays(array)
      )

  def test_made_up_images_have_none(self):
    described = sources.load("imagenet2012", fake_data=True).describe()
    self.assertNotIn("train_fingerprint", described)


if __name__ == "__main__":
  tf.test.main()
