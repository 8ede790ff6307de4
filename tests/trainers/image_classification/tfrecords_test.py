import os

import tensorflow as tf
from absl.testing import parameterized

from tests.trainers.image_classification import photos
from tests.trainers.image_classification.stored_images import write_tfrecords
from trainers.errors import UserError
from trainers.image_classification import tfrecords


class LoadTest(tf.test.TestCase, parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.directory = os.path.join(self.get_temp_dir(), self.id())
    self.images = [photos.jpeg(seed=i) for i in range(7)]
    write_tfrecords(self.directory, "train", self.images, files=3)
    write_tfrecords(self.directory, "validation", self.images[:4], files=2)

  def _load(self):
    return tfrecords.load(self.directory, "train", "validation")

  def test_every_record_with_its_label_and_name(self):
    source = self._load()
    self.assertEqual((source.train.size, source.validation.size), (7, 4))
    self.assertLen(source.class_names, 1000)
    self.assertEqual(source.class_names[0], "1")
    seen = {}
    for record in source.train.records(0, 1, None, 1):
      example = source.train.load(*record)
      seen[int(example.label)] = example.image.numpy()
      name = source.train.name(*record).numpy().decode()
      i = int(example.label)
      self.assertEqual(
        name,
        f"Record {i // 3} of {self.directory}/train-{i % 3:05}-of-00003, "
        f"train_{i}.JPEG",
      )
    self.assertEqual(seen, dict(enumerate(self.images)))

  @parameterized.parameters(0, 1001, -1)
  def test_label_of_no_class(self, label):
    write_tfrecords(self.directory, "train", self.images, 3, [1] * 6 + [label])
    split = self._load().train
    with self.assertRaisesRegex(
      tf.errors.InvalidArgumentError, f"must be 1 to 1000.*{label}"
    ):
      for record in split.records(0, 1, None, 1):
        split.load(*record)

  def test_no_directory(self):
    with self.assertRaisesRegex(UserError, "needs --data_dir, a folder with"):
      tfrecords.load(None, "train", "validation")
    with self.assertRaisesRegex(UserError, "nothing is not a directory"):
      tfrecords.load(f"{self.directory}/nothing", "train", "validation")

  def test_missing_files(self):
    os.remove(f"{self.directory}/train-00001-of-00003")
    with self.assertRaisesRegex(
      UserError, r"the 3 files of 'train'.*1 are missing \['train-00001-of-0"
    ):
      self._load()

  def test_files_of_two_sets(self):
    write_tfrecords(self.directory, "train", self.images, files=2)
    with self.assertRaisesRegex(UserError, "2 belong to another set"):
      self._load()

  def test_no_such_split(self):
    with self.assertRaisesRegex(UserError, "no files dev-00000-of-"):
      tfrecords.load(self.directory, "train", "dev")

  def test_file_that_was_cut_off(self):
    path = f"{self.directory}/train-00001-of-00003"
    with open(path, "r+b") as file:
      file.truncate(os.path.getsize(path) - 3)
    with self.assertRaisesRegex(UserError, "train-00001.* cut off .* record 1"):
      self._load()


if __name__ == "__main__":
  tf.test.main()
