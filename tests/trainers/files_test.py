import os
import re
import tempfile
from unittest import mock

import tensorflow as tf
from absl.testing import parameterized

from trainers import files
from trainers.errors import UserError


class PathsTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.parameters(
    ("runs/exp[lr=0.1]", "[ and ]"),
    ("runs/exp[1/a", "["),
    ("gs://bucket/exp]", "]"),
    ("exp*", "*"),
    ("exp?", "?"),
    ("exp\\1", "\\"),
  )
  def test_patterns_are_refused_with_what_is_wrong(self, path, characters):
    with self.assertRaises(UserError) as raised:
      files.check_no_pattern(data_dir=None, workdir=path)
    self.assertStartsWith(
      str(raised.exception),
      f"--workdir={path} must be a path without {characters}: ",
    )

  def test_archives_are_told(self):
    folder = tempfile.mkdtemp(dir=self.get_temp_dir())
    self.assertEqual(files.tell_archives(folder), "")
    for name in ("Photos.ZIP", "a.tar.gz"):
      path = os.path.join(folder, name)
      for given in (folder, path):
        self.assertEqual(files.tell_archives(given).count(path), given == path)
      with open(path, "w"):
        pass
      for given in (folder, path):
        text = files.tell_archives(given)
        self.assertRegex(text, f"^ {re.escape(path)} is an archive.* unpack it")
      os.remove(path)
    for given in (None, "", "nowhere", "train.gz"):
      self.assertEqual(files.tell_archives(given), "")

  @parameterized.parameters(None, "", "runs/a b/", "{a,b}", "~", "../a", "a=1")
  def test_others_are_not(self, path):
    self.assertIsNone(files.check_no_pattern(workdir=path))

  @mock.patch.dict(os.environ, HOME="/home/me")
  def test_home(self):
    for path, expected in (
      ("~", "/home/me"),
      ("~/a b/", "/home/me/a b/"),
      ("./~", "./~"),
      ("a/~/b~", "a/~/b~"),
      ("gs://a/~", "gs://a/~"),
    ):
      self.assertEqual(files.expand(path), expected)


class WritingTest(tf.test.TestCase):
  def test_failures_to_write_say_what_to_do(self):
    removed = []
    for error in (
      OSError(28, "No space left on device"),
      tf.errors.ResourceExhaustedError(
        None,
        None,
        "{{function_node __wrapped__SaveV2}} a/tmp; No space left on device "
        "[Op:SaveV2]",
      ),
    ):
      with (
        self.assertRaisesRegex(
          UserError,
          r"^a/b cannot be written: No space left on device\. Make room",
        ),
        files.writing("a/b", on_error=lambda: removed.append(1)),
      ):
        raise error
    self.assertLen(removed, 2)
    with (
      self.assertRaisesRegex(UserError, "Permission denied. Put that right"),
      files.writing("a/b"),
    ):
      raise tf.errors.PermissionDeniedError(None, None, "a; Permission denied")

  def test_others_stay(self):
    with self.assertRaises(KeyError), files.writing("a/b"):
      raise KeyError


class WriteWholeTest(tf.test.TestCase):
  def test_files_of_text_and_of_bytes_are_written_whole_or_not_at_all(self):
    directory = os.path.join(self.get_temp_dir(), self.id())
    os.makedirs(directory)
    path = os.path.join(directory, "file")
    for content in ("first", b"\xff second"):
      files.write_whole(path, content)
      with open(path, "rb") as file:
        self.assertEqual(file.read(), tf.compat.as_bytes(content))
    with (
      mock.patch.object(
        tf.io.gfile,
        "rename",
        side_effect=tf.errors.UnknownError(None, None, ""),
      ),
      self.assertRaises(tf.errors.UnknownError),
    ):
      files.write_whole(path, "third")
    self.assertEqual(os.listdir(directory), ["file"])
    with open(path, "rb") as file:
      self.assertEqual(file.read(), b"\xff second")


if __name__ == "__main__":
  tf.test.main()
