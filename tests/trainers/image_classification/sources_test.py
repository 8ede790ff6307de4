import os
import tempfile

import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from ml_collections import config_dict

from tests.trainers.image_classification import photos
from tests.trainers.image_classification.tfds_images_test import write_imagenet
from tests.trainers.image_classification.tfrecords_test import write_tfrecords
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
    source = sources.load(_config(name), os.path.join(root, folder))
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
    ("cifarr10", "data.name='cifarr10' is unknown"),
  )
  def test_the_name_decides(self, name, message):
    with self.assertRaisesRegex(UserError, message):
      sources.load(_config(name), None)


if __name__ == "__main__":
  tf.test.main()
