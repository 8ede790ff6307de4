import glob
import os
import warnings

import numpy as np
import tensorflow as tf

from trainers.errors import UserError
from trainers.image_classification import image_folder, unreadable


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

  def _load(self):
    return image_folder.load(self.root, "train", "validation")

  def assertMistake(self, *words):
    with self.assertRaises(UserError) as raised:
      self._load()
    for word in words:
      self.assertIn(word, str(raised.exception))

  def test_every_image_with_the_label_of_its_folder(self):
    source = self._load()
    self.assertEqual(source.class_names, ("cat", "dog"))
    self.assertEqual((source.train.size, source.validation.size), (6, 6))
    seen = sorted(
      (int(label), *image[0, 0].tolist(), *image.shape)
      for image, label in source.train.examples.as_numpy_iterator()
    )
    expected = [
      (i, 100 * i, 10 * j, 7, 6, 8, 3) for i in (0, 1) for j in (0, 1, 2)
    ]
    self.assertEqual(seen, expected)

  def test_the_name_is_the_path(self):
    self._write("train/cat/\u00e9t\u00e9.png")
    split = self._load().train
    names = [
      split.name(*record).numpy().decode()
      for record in split.records(0, 1, tf.constant(1, tf.int64), 1)
    ]
    self.assertCountEqual(
      names, glob.glob(os.path.join(self.root, "train", "*", "*"))
    )
    self.assertNotEqual(names, sorted(names))

  def test_hosts_have_images_of_every_class(self):
    split = self._load().train
    parts = [list(split.records(host, 2, None, 1)) for host in (0, 1)]
    for part in parts:
      self.assertEqual({int(label) for _, label in part}, {0, 1})
    paths = [path.numpy() for part in parts for path, _ in part]
    self.assertLen(set(paths), 6)

  def test_no_data_dir(self):
    with self.assertRaisesRegex(UserError, "needs --data_dir"):
      image_folder.load(None, "train", "validation")

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

  def test_folders_without_images_do_not_count(self):
    for path in ("train/owl", "backup/owl"):
      os.makedirs(os.path.join(self.root, path))
    with self.assertWarnsRegex(UserWarning, r"train: The folders \['owl'\]"):
      self.assertEqual(self._load().class_names, ("cat", "dog"))

  def test_what_is_no_data_changes_no_label(self):
    before = self._load()
    self._write("train/.ipynb_checkpoints/0.png")
    self._write("train/cat/._0.png")
    self._write("validation/dog/.cache/0.png")
    with warnings.catch_warnings():
      warnings.simplefilter("error")
      self.assertEqual(self._load().describe(), before.describe())

  def test_what_is_left_out_is_told_once(self):
    for name in ("a.csv", "b.tiff"):
      tf.io.write_file(os.path.join(self.root, "train/cat", name), "")
    with warnings.catch_warnings(record=True) as caught:
      warnings.simplefilter("always")
      self.assertEqual(self._load().train.size, 6)
    (warning,) = caught
    self.assertIn("train: 2 files are left out", str(warning.message))
    self.assertIn("('cat': 1 .csv, 1 .tiff)", str(warning.message))

  def test_a_file_that_vanishes_is_named(self):
    split = self._load().train
    path = os.path.join(self.root, "train/dog/1.png")
    os.remove(path)
    error = unreadable.find(split, split.records(0, 1, None, 1))
    self.assertIn(f"{path} cannot be read", str(error))

  def test_gray_images_become_rgb(self):
    path = os.path.join(self.root, "train/cat/0.png")
    tf.io.write_file(path, tf.io.encode_png(np.full((4, 4, 1), 9, np.uint8)))
    for image, _ in self._load().train.examples:
      self.assertEqual(image.shape[-1], 3)


if __name__ == "__main__":
  tf.test.main()
