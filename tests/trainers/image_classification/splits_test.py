import os

import tensorflow as tf
from absl.testing import parameterized

from tests.trainers.image_classification import photos
from tests.trainers.image_classification.stored_images import write_tfrecords
from trainers.image_classification import tfrecords


class UnreadableTest(tf.test.TestCase, parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.directory = os.path.join(self.get_temp_dir(), self.id().split()[0])
    self.images = [photos.jpeg(seed=i) for i in range(9)]

  def _find(self, shuffled=False, labels=None):
    write_tfrecords(self.directory, "train", self.images, 3, labels)
    split = tfrecords.load(self.directory, "train", "train").train
    seed = tf.constant(1, tf.int64) if shuffled else None
    return split.find_unreadable(split.records(0, 1, seed, 100))

  def test_nothing(self):
    self.assertIsNone(self._find())

  @parameterized.product(
    kind=["empty", "text", "cut off"], shuffled=[False, True]
  )
  def test_no_image(self, kind, shuffled):
    self.images[5] = {
      "empty": b"",
      "text": b"no image",
      "cut off": photos.jpeg()[:200],
    }[kind]
    message = str(self._find(shuffled))
    self.assertStartsWith(
      message,
      f"Record 1 of {self.directory}/train-00002-of-00003, train_5.JPEG cannot "
      "be read: ",
    )
    self.assertNotIn("{{", message)
    self.assertNotIn("[[", message)

  def test_a_label_that_is_none(self):
    message = str(self._find(labels=[1, 2, 3, 4, 1001, 6, 7, 8, 9]))
    self.assertIn("train-00001-of-00003, train_4.JPEG cannot", message)
    self.assertIn("must be 1 to 1000. Received:] [1001]", message)

  def test_damaged_file(self):
    self._find()
    path = f"{self.directory}/train-00001-of-00003"
    split = tfrecords.load(self.directory, "train", "train").train
    with open(path, "r+b") as file:
      file.seek(100)
      file.write(b"xxx")
    message = str(split.find_unreadable(split.records(0, 1, None, 1)))
    self.assertIn(f"{path} is damaged at record 0", message)


if __name__ == "__main__":
  tf.test.main()
