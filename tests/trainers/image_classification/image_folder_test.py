import glob
import io
import os
import shutil
import tempfile

import numpy as np
import tensorflow as tf
from PIL import Image

from tests.trainers.image_classification import photos, stored_images
from trainers.errors import UserError
from trainers.image_classification import image_folder, pixels


class LoadTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.root = os.path.join(self.get_temp_dir(), self.id())
    for split in ("train", "validation"):
      for i, name in enumerate(("cat", "dog")):
        for j in range(3):
          self._write(f"{split}/{name}/{j}.png", (100 * i, 10 * j, 7))

  def _write(self, path, color=(1, 2, 3)):
    stored_images.write_image(os.path.join(self.root, path), color)

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
    self.assertMistake(
      "validation is not a directory",
      "validation/CLASS",
      f"--data_dir={self.root}/train --config.data.validation_fraction=0.2",
    )
    self._remove("train")
    self.assertMistake(
      "train is not a directory",
      f"--data_dir={self.root} --config.data.validation_fraction=0.2",
    )

  def test_empty_directory(self):
    self._remove("train")
    os.makedirs(os.path.join(self.root, "train", "cat"))
    self.assertMistake("train holds no images", ".jpeg")

  def test_an_archive_that_is_not_unpacked(self):
    self.root = tempfile.mkdtemp(dir=self.get_temp_dir())
    archive = os.path.join(self.root, "photos.zip")
    with open(archive, "wb") as file:
      file.write(b"PK")
    for given in (self.root, archive):
      with self.assertRaisesRegex(UserError, f"{archive} is an archive"):
        image_folder.load(given, "train", "validation")
      with self.assertRaisesRegex(UserError, f"{archive} is an archive"):
        image_folder.load_and_split(given, 0.2, 0, ("train", "validation"))

  def test_class_in_one_split_only(self):
    self._write("train/owl/0.png")
    self.assertMistake("['owl'] have images in", "train but none in")
    self._remove("train", "owl")
    self._remove("train", "dog")
    os.makedirs(os.path.join(self.root, "train", "dog"))
    self.assertMistake(
      "['dog'] have images in",
      "validation but none in",
      "train: The folders ['dog'] hold no images",
    )

  def test_folders_without_images_do_not_count(self):
    for path in ("train/owl", "backup/owl"):
      os.makedirs(os.path.join(self.root, path))
    source = self._load()
    self.assertEqual(source.class_names, ("cat", "dog"))
    (note,) = source.notes
    self.assertRegex(note, r"train: The folders \['owl'\]")

  def test_what_is_no_data_changes_no_label(self):
    before = self._load()
    self._write("train/.ipynb_checkpoints/0.png")
    self._write("train/cat/._0.png")
    self._write("validation/dog/.cache/0.png")
    source = self._load()
    self.assertEqual(source.describe(), before.describe())
    self.assertEmpty(source.notes)

  def test_what_is_left_out_is_told_once(self):
    for name in ("a.csv", "b.tiff"):
      tf.io.write_file(os.path.join(self.root, "train/cat", name), "")
    source = self._load()
    self.assertEqual(source.train.size, 6)
    (note,) = source.notes
    self.assertIn("train: 2 files are left out", note)
    self.assertIn("('cat': 1 .csv, 1 .tiff)", note)

  def test_a_file_that_vanishes_is_named(self):
    split = self._load().train
    path = os.path.join(self.root, "train/dog/1.png")
    os.remove(path)
    error = split.find_unreadable(split.records(0, 1, None, 1))
    self.assertIn(f"{path} cannot be read", str(error))

  def test_gray_images_become_rgb(self):
    path = os.path.join(self.root, "train/cat/0.png")
    tf.io.write_file(path, tf.io.encode_png(np.full((4, 4, 1), 9, np.uint8)))
    for image, _ in self._load().train.examples:
      self.assertEqual(image.shape[-1], 3)


# Pillow writes them, and TensorFlow decodes them under these names.
_KINDS = {
  ".jpg": "JPEG",
  ".JPEG": "JPEG",
  ".jfif": "JPEG",
  ".PNG": "PNG",
  ".bmp": "BMP",
  ".Gif": "GIF",
  ".webp": "WEBP",
}


class LoadAndSplitTest(tf.test.TestCase):
  """Class folders alone, of which a part is held out."""

  def setUp(self):
    super().setUp()
    self.root = os.path.join(self.get_temp_dir(), self.id())
    for name, number in (("cat", 40), ("dog", 10), ("owl", 2)):
      self._write(name, number)

  def _write(self, name, number):
    for i in range(number):
      path = os.path.join(self.root, name, f"{i}.png")
      stored_images.write_image(path, (i, 0, 0))

  def _load(self, fraction=0.2, seed=0):
    return image_folder.load_and_split(
      self.root, fraction, seed, ("train", "validation")
    )

  def _names(self, split):
    """Returns the files of a split, from the root on."""
    return [
      os.path.relpath(split.name(*record).numpy().decode(), self.root)
      for record in split.records(0, 1, None, 1)
    ]

  def test_a_part_of_each_class(self):
    source = self._load()
    self.assertEqual(source.class_names, ("cat", "dog", "owl"))
    train, validation = map(self._names, (source.train, source.validation))
    for class_name, counts in (
      ("cat", (32, 8)),
      ("dog", (8, 2)),
      ("owl", (1, 1)),
    ):
      for names, count in zip((train, validation), counts):
        found = [n for n in names if n.startswith(f"{class_name}/")]
        self.assertLen(found, count)
    self.assertLen({*train, *validation}, 52)
    labels = {
      name.split("/")[0]: int(label)
      for split, names in (
        (source.train, train),
        (source.validation, validation),
      )
      for name, (_, label) in zip(names, split.records(0, 1, None, 1))
    }
    self.assertEqual(labels, {"cat": 0, "dog": 1, "owl": 2})

  def test_names_and_a_seed_decide(self):
    before = self._names(self._load().validation)
    self.assertEqual(self._names(self._load().validation), before)
    os.rename(self.root, f"{self.root} elsewhere")
    self.root += " elsewhere"
    self.assertEqual(self._names(self._load().validation), before)
    self.assertNotEqual(self._names(self._load(seed=1).validation), before)
    # Each further image takes the place of one at most.
    self._write("cat", 41)
    after = self._names(self._load().validation)
    self.assertLessEqual(len({*before} - {*after}), 1)

  def test_mistakes(self):
    for make, words in (
      (lambda: self._write("emu", 1), ("'emu'", "one image")),
      (lambda: self._write("train/cat", 1), ("train is a split",)),
    ):
      make()
      with self.assertRaises(UserError) as raised:
        self._load()
      for word in words:
        self.assertIn(word, str(raised.exception))
    for root, message in (
      (None, "needs --data_dir"),
      (os.path.join(self.root, "none"), "is not a directory"),
      (os.path.join(self.root, "cat"), "no folder with images, and 40 images"),
    ):
      self.root = root
      with self.assertRaisesRegex(UserError, message):
        self._load()


class FindTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.root = tempfile.mkdtemp(dir=self.get_temp_dir())
    # TensorFlow would follow the links, and in 2.19 never come to an end.
    self.addCleanup(shutil.rmtree, self.root)

  def _write(self, *paths, kind="JPEG"):
    for path in paths:
      path = os.path.join(self.root, path)
      os.makedirs(os.path.dirname(path), exist_ok=True)
      Image.fromarray(photos.pixels(6, 8)).save(path, kind)

  def _find(self):
    """Returns the paths of each class from the root on, and what is told."""
    folders = image_folder.find(self.root)
    files = {
      name: [os.path.relpath(path, self.root) for path in paths]
      for name, paths in folders.files.items()
    }
    return files, folders.describe_left_out()

  def test_names_that_begin_with_a_dot_are_no_data(self):
    self._write("cat/a.jpg", "dog/a.jpg")
    self._write(
      ".ipynb_checkpoints/a-checkpoint.jpg",
      "cat/.ipynb_checkpoints/a-checkpoint.jpg",
      "cat/._a.jpg",
      "cat/.DS_Store",
      "._a.jpg",
    )
    self.assertEqual(
      self._find(), ({"cat": ["cat/a.jpg"], "dog": ["dog/a.jpg"]}, "")
    )

  def test_what_systems_put_there(self):
    self._write("cat/a.jpg", "cat/Thumbs.db", "cat/desktop.ini", "Thumbs.db")
    self._write("cat/@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg", "__MACOSX/cat/a.jpg")
    self.assertEqual(self._find(), ({"cat": ["cat/a.jpg"]}, ""))

  def test_images_in_folders_of_a_class(self):
    self._write("cat/z.jpg", "cat/a/b/c.jpg", "cat/a/d.jpg", "dog/x.jpg")
    files, told = self._find()
    self.assertEqual(
      files,
      {
        "cat": ["cat/a/b/c.jpg", "cat/a/d.jpg", "cat/z.jpg"],
        "dog": ["dog/x.jpg"],
      },
    )
    self.assertEqual(told, "")

  def test_every_format_that_is_listed_is_decoded(self):
    for suffix, kind in _KINDS.items():
      if suffix in image_folder.READABLE or suffix != ".webp":
        self._write(f"cat/a{suffix}", kind=kind)
    files, told = self._find()
    self.assertLen(files["cat"], len(os.listdir(f"{self.root}/cat")))
    self.assertGreaterEqual(len(files["cat"]), 6)
    self.assertEqual(told, "")
    for path in files["cat"]:
      image = pixels.decode(tf.io.read_file(f"{self.root}/{path}"), 3)
      self.assertEqual(image.shape, (6, 8, 3))

  def test_webp_is_listed_where_it_is_decoded(self):
    file = io.BytesIO()
    Image.fromarray(photos.pixels(6, 8)).save(file, "WEBP")
    try:
      pixels.decode(tf.constant(file.getvalue()), 3)
      is_decoded = True
    except tf.errors.InvalidArgumentError:
      is_decoded = False
    self.assertEqual(".webp" in image_folder.READABLE, is_decoded)

  def test_what_is_left_out_is_told_by_class(self):
    self._write("cat/a.jpg", "dog/a.jpg", "owl/a.jpg", "loose.jpg", "more.png")
    self._write("cat/b.tiff", "cat/sub/c.TIFF", kind="TIFF")
    for path in ("cat/labels.csv", "dog/README", "labels.csv"):
      with open(os.path.join(self.root, path), "w") as file:
        file.write("notes")
    os.makedirs(os.path.join(self.root, "empty"))
    files, told = self._find()
    self.assertEqual([*files], ["cat", "dog", "owl"])
    for words in (
      self.root,
      "4 files are left out",
      f"TensorFlow {tf.__version__}",
      "('cat': 1 .csv, 2 .tiff; 'dog': 1 without an ending)",
      "2 images beside the class folders",
      "['empty']",
    ):
      self.assertIn(words, told)
    self.assertNotIn("owl", told)  # It holds images alone.

  def test_of_many_classes_a_few_are_told(self):
    for i in range(9):
      self._write(f"{i}/a.jpg")
      self._write(f"{i}/a.tiff", kind="TIFF")
    _, told = self._find()
    self.assertIn("9 files are left out", told)
    self.assertIn("'4': 1 .tiff; and 4 more classes)", told)
    self.assertNotIn("'5'", told)

  def test_a_class_of_nothing_that_is_decoded(self):
    self._write("cat/a.jpg")
    self._write("dog/a.tiff", "dog/b.tif", kind="TIFF")
    with self.assertRaisesRegex(
      UserError, "dog holds no image .* decodes, but 1 .tif, 1 .tiff: convert"
    ):
      self._find()

  def test_links(self):
    self._write("photos/cats/1.jpg", "photos/3.jpg")
    photos_, self.root = f"{self.root}/photos", f"{self.root}/train"
    self._write("cat/2.jpg")
    os.symlink(f"{photos_}/cats", f"{self.root}/cat/more")
    os.symlink(f"{photos_}/3.jpg", f"{self.root}/cat/3.jpg")
    os.symlink(f"{photos_}/cats", f"{self.root}/dog")
    # One without an end.
    os.symlink(self.root, f"{photos_}/cats/all")
    os.symlink("..", f"{self.root}/cat/up")
    files, told = self._find()
    self.assertContainsSubset(
      ["cat/2.jpg", "cat/3.jpg", "cat/more/1.jpg"], files["cat"]
    )
    self.assertIn("dog/1.jpg", files["dog"])
    self.assertEqual(told, "")

  def test_links_that_lead_nowhere(self):
    self._write("cat/a.jpg", "dog/a.jpg")
    for name in ("1.jpg", "2.jpg"):
      os.symlink("/nowhere", f"{self.root}/dog/{name}")
    with self.assertRaisesRegex(
      UserError, "dog holds 2 links that lead nowhere, such as .*dog/1.jpg"
    ):
      self._find()

  def test_other_file_systems(self):
    root = f"ram://{self.id().split()[0]}"
    for path in (
      *("cat/a.jpg", "cat/sub/b.JPG", "cat/.c.jpg", "cat/d.tiff"),
      *(".ipynb_checkpoints/e.jpg", "dog/f.png"),
    ):
      tf.io.gfile.makedirs(os.path.dirname(f"{root}/{path}"))
      tf.io.write_file(f"{root}/{path}", b"")
    folders = image_folder.find(root)
    self.assertEqual(
      folders.files,
      {
        "cat": [f"{root}/cat/a.jpg", f"{root}/cat/sub/b.JPG"],
        "dog": [f"{root}/dog/f.png"],
      },
    )
    self.assertIn("('cat': 1 .tiff)", folders.describe_left_out())


if __name__ == "__main__":
  tf.test.main()
