import os

import numpy as np
import tensorflow as tf

from trainers.errors import UserError
from trainers.image_classification import cifar_binary, sources

_TRAIN = [f"data_batch_{i}.bin" for i in range(1, 6)]


def _record(label, image):
  """Returns the bytes of an image, as CIFAR's page describes them."""
  planes = [image[:, :, channel].tobytes() for channel in range(3)]
  return bytes([label]) + b"".join(planes)


class CifarBinaryTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = self.get_temp_dir()
    random = np.random.default_rng(0)
    self.images = random.integers(256, size=(12, 32, 32, 3), dtype="uint8")
    for i, name in enumerate([*_TRAIN, "test_batch.bin"]):
      rows = range(2 * i, 2 * i + 2)
      self._write(name, b"".join(_record(j % 10, self.images[j]) for j in rows))

  def _write(self, name, contents):
    with open(os.path.join(self.folder, name), "wb") as file:
      file.write(contents)

  def test_images_with_their_labels(self):
    source = sources.load(cifar_binary.NAME, self.folder, "train", "test")
    self.assertEqual(source.class_names[0::9], ("airplane", "truck"))
    self.assertFalse(source.is_made_up)
    for split, first, size in (
      (source.train, 0, 10),
      (source.validation, 10, 2),
    ):
      self.assertEqual(split.size, size)
      for i, (image, label) in enumerate(split.examples, first):
        self.assertAllEqual(image, self.images[i])
        self.assertEqual(int(label), i % 10)

  def test_mistakes(self):
    load = cifar_binary.load
    with self.assertRaisesRegex(UserError, "--data_dir"):
      load(None, "train", "test")
    with self.assertRaisesRegex(UserError, "validation_split.*'validation'"):
      load(self.folder, "train", "validation")
    for contents, message in (
      (b"\0" * 3072, "3,073 bytes each. Its size is 3,072"),
      (b"", "Its size is 0"),
      (b"\x0a" + b"\0" * 3072, "the label 10"),
    ):
      self._write("data_batch_3.bin", contents)
      with self.assertRaisesRegex(UserError, f"data_batch_3.bin .*{message}"):
        load(self.folder, "train", "test")
    os.remove(os.path.join(self.folder, "test_batch.bin"))
    with self.assertRaisesRegex(UserError, "test_batch.bin cannot be read"):
      load(self.folder, "test", "test")


if __name__ == "__main__":
  tf.test.main()
