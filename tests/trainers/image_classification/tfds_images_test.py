import importlib.util
import os
from unittest import mock

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from absl.testing import parameterized

from tests.trainers.image_classification import photos
from tests.trainers.image_classification.stored_images import (
  write_imagenet,
  write_tfds,
)
from trainers.errors import UserError
from trainers.image_classification import tfds_images


class TfdsImagesTest(tf.test.TestCase, parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.data_dir = os.path.join(self.get_temp_dir(), self.id().split()[0])
    os.makedirs(self.data_dir)

  def _load(self, name, train="train", validation="test"):
    return tfds_images.load(name, self.data_dir, train, validation, ())

  @parameterized.parameters("tfrecord", "array_record", "parquet")
  def test_imagenet(self, file_format):
    images = [photos.jpeg(24, 32, seed=i) for i in range(8)]
    write_imagenet(self.data_dir, images, file_format=file_format)
    source = self._load("imagenet2012", validation="validation")
    self.assertEqual((source.train.size, source.validation.size), (8, 8))
    self.assertLen(source.class_names, 1000)
    self.assertEqual(source.channels, 3)
    seen = {}
    for record in source.train.records(0, 1, None, 1):
      example = source.train.load(*record)
      label = int(example.label)
      seen[label] = example.image.numpy()
      self.assertEqual(
        source.train.name(*record), f"train_{label}.JPEG".encode()
      )
    self.assertEqual(seen, dict(enumerate(images)))  # As they were: encoded.
    self.assertLen(self._files("train"), 3)

  def _files(self, split):
    return [
      name
      for _, _, names in os.walk(self.data_dir)
      for name in names
      if f"-{split}." in name
    ]

  @parameterized.parameters("tfrecord", "array_record", "parquet")
  def test_a_part_of_a_split(self, file_format):
    images = [photos.jpeg(seed=i) for i in range(8)]
    write_imagenet(self.data_dir, images, file_format=file_format)
    source = self._load("imagenet2012", "train[:75%]", "train[75%:]")
    self.assertEqual((source.train.size, source.validation.size), (6, 2))
    labels = [
      int(split.load(*record).label)
      for split in (source.train, source.validation)
      for record in split.records(0, 1, None, 1)
    ]
    self.assertCountEqual(labels, range(8))

  @parameterized.product(
    channels=(1, 3), file_format=("tfrecord", "array_record")
  )
  def test_decoded(self, channels, file_format):
    shape = (4, 5, channels)
    images = np.random.default_rng(0).integers(256, size=(5, *shape))
    images, labels = images.astype("uint8"), np.array([0, 1, 2, 0, 1])
    columns = {"image": images, "label": labels, "other": labels}
    write_tfds(
      self.data_dir,
      "tiny_images",
      {
        "image": tfds.features.Image(shape=shape, encoding_format="png"),
        "label": tfds.features.ClassLabel(names=["a", "b", "c"]),
        "other": tfds.features.Scalar(np.int64),
      },
      {"train": columns, "test": columns},
      file_format=file_format,
    )
    source = self._load("tiny_images")
    self.assertEqual(source.class_names, ("a", "b", "c"))
    self.assertEqual(source.channels, channels)
    seen = {
      image.tobytes(): int(label)
      for image, label in source.train.examples.as_numpy_iterator()
    }
    self.assertEqual(
      seen, {i.tobytes(): int(label) for i, label in zip(images, labels)}
    )
    record = next(iter(source.validation.records(0, 1, None, 1)))
    name = source.validation.name(*record).numpy().decode()
    self.assertRegex(name, f"Record [0-4] of .*tiny_images-test.{file_format}")

  def test_mistakes(self):
    for name, features, examples, message in (
      (
        "text",
        {"text": tfds.features.Text()},
        {"text": [b"a"]},
        "not an image",
      ),
      (
        "floats",
        {
          "image": tfds.features.Image(shape=(2, 2, 1), dtype=np.float32),
          "label": tfds.features.ClassLabel(num_classes=2),
        },
        {"image": [np.zeros((2, 2, 1), "float32")], "label": [0]},
        "images of float32",
      ),
    ):
      write_tfds(self.data_dir, name, features, {"train": examples})
      with self.assertRaisesRegex(UserError, message):
        self._load(name)
    write_imagenet(self.data_dir, [photos.jpeg()], files=1)
    with self.assertRaisesRegex(UserError, "data.validation_split='test' is"):
      self._load("imagenet2012")

  def test_a_record_that_cannot_be_read_is_named(self):
    images = [photos.jpeg(40, 50, seed=i) for i in range(8)]
    images[5] = b"no image"
    write_imagenet(self.data_dir, images, 1, "array_record")
    split = self._load("imagenet2012", validation="validation").train
    records = split.records(0, 1, tf.constant(1, tf.int64), 1)
    self.assertRegex(
      str(split.find_unreadable(records)),
      r"^train_5.JPEG cannot be read: [^\n]*$",
    )
    (name,) = self._files("train")
    path = os.path.join(self.data_dir, "imagenet2012", "5.1.0", name)
    os.truncate(path, 100)
    split = self._load("imagenet2012", validation="validation").train
    self.assertRegex(
      str(split.find_unreadable(split.records(0, 1, None, 1))),
      f"^{path} is damaged at record 0, counted from 0: [^\n]+$",
    )

  def test_file_formats_without_their_package(self):
    for file_format in ("array_record", "parquet"):
      directory = os.path.join(self.data_dir, file_format)
      write_imagenet(directory, [photos.jpeg()], 1, file_format)
      with (
        mock.patch.object(importlib.util, "find_spec", return_value=None),
        self.assertRaisesRegex(
          UserError,
          f"format '{file_format}'.*not installed.*--file_format=tfrecord$",
        ),
      ):
        tfds_images.load("imagenet2012", directory, "train", "validation", ())

  def test_what_is_not_there(self):
    for name, directory, message in (
      ("cifarr10", self.data_dir, "data.name='cifarr10' is unknown"),
      ("cifar10", f"{self.data_dir}/nothing", "nothing is not a directory"),
      ("cifar10", self.data_dir, "Prepare it where .*: tfds build cifar10"),
      ("mnist/big", self.data_dir, "data.name='mnist/big'"),
    ):
      with self.assertRaisesRegex(UserError, message):
        tfds_images.load(name, directory, "train", "test", ["digits"])


if __name__ == "__main__":
  tf.test.main()
