import os

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from ml_collections import config_dict

from trainers.errors import UserError
from trainers.image_classification import sources


def _config(name, train="train", validation="validation"):
  return config_dict.create(
    name=name, train_split=train, validation_split=validation
  )


def _write_tfds(data_dir, name, features, examples):
  """Writes a data set of two splits in the format of TFDS."""
  tfds.dataset_builders.store_as_tfds_dataset(
    name=name,
    version="1.0.0",
    features=tfds.features.FeaturesDict(features),
    split_datasets={
      split: tf.data.Dataset.from_tensor_slices(examples)
      for split in ("train", "test")
    },
    data_dir=data_dir,
  )


class SourcesTest(tf.test.TestCase):
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

  def test_tfds_by_name(self):
    data_dir = self.get_temp_dir()
    images = np.arange(5 * 4 * 4 * 3, dtype="uint8").reshape(5, 4, 4, 3)
    labels = np.array([0, 1, 2, 0, 1])
    _write_tfds(
      data_dir,
      "tiny_images",
      {
        "image": tfds.features.Image(shape=(4, 4, 3), encoding_format="png"),
        "label": tfds.features.ClassLabel(names=["a", "b", "c"]),
      },
      {"image": images, "label": labels},
    )
    config = _config("tiny_images", validation="test")
    source = sources.load(config, data_dir)
    self.assertEqual((source.train.size, source.validation.size), (5, 5))
    self.assertEqual(source.class_names, ("a", "b", "c"))
    self.assertEqual(source.channels, 3)
    seen = {
      image.tobytes(): int(label)
      for image, label in source.train.examples.as_numpy_iterator()
    }
    self.assertEqual(
      seen, {i.tobytes(): int(label) for i, label in zip(images, labels)}
    )
    with self.assertRaisesRegex(UserError, "data.validation_split='dev'"):
      sources.load(_config("tiny_images", validation="dev"), data_dir)

  def test_tfds_without_images(self):
    data_dir = self.get_temp_dir()
    _write_tfds(
      data_dir,
      "tiny_text",
      {"text": tfds.features.Text()},
      {"text": ["a", "b"]},
    )
    with self.assertRaisesRegex(UserError, "not an image classification"):
      sources.load(_config("tiny_text", validation="test"), data_dir)

  def test_mistakes(self):
    nothing = os.path.join(self.get_temp_dir(), "nothing")
    empty = self.get_temp_dir()
    for name, data_dir, message in (
      ("cifarr10", None, "data.name='cifarr10' is unknown"),
      ("cifar10", nothing, "nothing is not a directory"),
      ("cifar10", empty, "Prepare it where .*: tfds build cifar10"),
      ("mnist/big", empty, "data.name='mnist/big'"),
    ):
      with self.assertRaisesRegex(UserError, message):
        sources.load(_config(name), data_dir)


if __name__ == "__main__":
  tf.test.main()
