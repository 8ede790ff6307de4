import os

import numpy as np
import tensorflow as tf

from trainers.errors import UserError
from trainers.image_classification import image_folder


def write_image(path, color, size=(6, 8)):
  """Writes a PNG of one color."""
  os.makedirs(os.path.dirname(path), exist_ok=True)
  image = np.broadcast_to(np.uint8(color), (*size, 3))
  tf.io.write_file(path, tf.io.encode_png(image))


class ImageFolderTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.root = os.path.join(self.get_temp_dir(), self.id())
    for split in ("train", "validation"):
      for i, name in enumerate(("cat", "dog")):
        for j in range(3):
          self._write(f"{split}/{name}/{j}.png", (100 * i, 10 * j, 7))

  def _write(self, path, color=(1, 2, 3)):
    write_image(os.path.join(self.root, path), color)

  def _remove(self, *parts):
    tf.io.gfile.rmtree(os.path.join(self.root, *parts))

  def _builder(self):
    return image_folder.make_builder(self.root, "train", "validation")

  def assertMistake(self, *words):
    with self.assertRaises(UserError) as raised:
      self._builder()
    for word in words:
      self.assertIn(word, str(raised.exception))

  def test_every_image_with_the_label_of_its_folder(self):
    builder = self._builder()
    self.assertEqual(builder.info.features["label"].names, ["cat", "dog"])
    seen = sorted(
      (int(label), *image[0, 0].tolist(), *image.shape)
      for image, label in image_folder.read(
        builder, "train"
      ).as_numpy_iterator()
    )
    expected = [
      (i, 100 * i, 10 * j, 7, 6, 8, 3) for i in (0, 1) for j in (0, 1, 2)
    ]
    self.assertEqual(seen, expected)

  def test_no_data_dir(self):
    with self.assertRaisesRegex(UserError, "needs --data_dir"):
      image_folder.make_builder(None, "train", "validation")

  def test_missing_directory(self):
    self._remove("validation")
    self.assertMistake("validation is not a directory", "validation/CLASS")

  def test_empty_directory(self):
    self._remove("train")
    os.makedirs(os.path.join(self.root, "train", "cat"))
    self.assertMistake("train holds no images", ".jpeg")

  def test_class_in_one_split_only(self):
    self._write("train/owl/0.png")
    self.assertMistake("['owl'] have images in", "train but none in")
    self._remove("train", "owl")
    self._remove("train", "dog")
    os.makedirs(os.path.join(self.root, "train", "dog"))
    self.assertMistake("['dog'] have images in", "validation but none in")

  def test_folders_that_are_no_classes(self):
    for path in ("train/owl", "backup/owl"):
      os.makedirs(os.path.join(self.root, path))
      self.assertMistake("['owl'] would count as classes", "Remove them")
      self._remove(path)

  def test_unreadable_image_is_named(self):
    self.assertIsNone(image_folder.explain_unreadable(self.root, "train"))
    path = os.path.join(self.root, "train/dog/1.png")
    with open(path, "w") as file:
      file.write("no image")
    error = image_folder.explain_unreadable(self.root, "train")
    self.assertIsInstance(error, UserError)
    self.assertIn(f"{path} cannot be read as an image", str(error))
    self.assertNotIn("{{", str(error))
    os.remove(path)
    os.symlink(os.path.join(self.root, "nowhere"), path)
    error = image_folder.explain_unreadable(self.root, "train")
    self.assertIn(f"{path} cannot be read", str(error))

  def test_gray_images_become_rgb(self):
    path = os.path.join(self.root, "train/cat/0.png")
    tf.io.write_file(path, tf.io.encode_png(np.full((4, 4, 1), 9, np.uint8)))
    for image, _ in image_folder.read(self._builder(), "train"):
      self.assertEqual(image.shape[-1], 3)


if __name__ == "__main__":
  tf.test.main()
