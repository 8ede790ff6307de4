import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from ml_collections import config_dict

from trainers.errors import UserError
from trainers.image_classification import sources


def _config(name, train="train", validation="validation"):
  return config_dict.create(
    name=name, train_split=train, validation_split=validation
  )


class SourcesTest(tf.test.TestCase, parameterized.TestCase):
  def test_digits(self):
    source = sources.load(_config("digits"), None)
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

  @parameterized.parameters(
    ("image_folder", "a folder with train/CLASS"),
    ("tfrecords", "a folder with files train-00000-of-01024"),
    ("cifarr10", "data.name='cifarr10' is unknown"),
  )
  def test_the_name_decides(self, name, message):
    with self.assertRaisesRegex(UserError, message):
      sources.load(_config(name), None)


if __name__ == "__main__":
  tf.test.main()
