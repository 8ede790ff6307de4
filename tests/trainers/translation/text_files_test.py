import gzip
import os
import tempfile

import tensorflow as tf
from absl.testing import parameterized

from trainers.errors import UserError
from trainers.translation import text_files


class TextFilesTest(tf.test.TestCase, parameterized.TestCase):
  def _write(self, name, content):
    directory = tempfile.mkdtemp(dir=self.get_temp_dir())
    path = os.path.join(directory, name)
    with open(path, "wb") as file:
      file.write(content)
    return path

  def _lines(self, content):
    return list(text_files.read_lines(self._write("text", content)))

  def assertMistake(self, function, *words):
    with self.assertRaises(UserError) as raised:
      function()
    for word in words:
      self.assertIn(word, str(raised.exception))

  @parameterized.named_parameters(
    ("line feed at the end", b"a\nb\n", ["a", "b"]),
    ("none at the end", b"a\nb", ["a", "b"]),
    ("empty lines", b"\na\n\n", ["", "a", ""]),
    ("windows", b"a\r\nb\r\n", ["a", "b"]),
    ("byte order mark", b"\xef\xbb\xbfa\n\xef\xbb\xbfb", ["a", "\ufeffb"]),
    ("white space around", b" \ta \xc2\xa0\n  \n", ["a", ""]),
    (
      "other separators",
      "a\u2028b\u2029c\x85d\x0be\x0cf\rg\x1ch\n".encode(),
      ["a\u2028b\u2029c\x85d\x0be\x0cf\rg\x1ch"],
    ),
    ("nothing", b"", []),
  )
  def test_lines(self, content, expected):
    self.assertEqual(self._lines(content), expected)
    self.assertEqual(self._lines(gzip.compress(content)), expected)

  def test_long_lines_across_chunks(self):
    lines = ["ä" * n for n in (1 << 20, 3, (1 << 20) + 1, 1)]
    content = "\n".join(lines).encode()
    self.assertEqual(self._lines(content), lines)
    self.assertEqual(self._lines(gzip.compress(content)), lines)

  def test_check_counts_and_tells_texts_apart(self):
    one = self._write("one", b"a\nb\n")
    two = self._write("two", b"c\nd\n")
    contents = text_files.check(one, two)
    self.assertEqual(contents.size, 2)
    same = text_files.check(
      self._write("x", gzip.compress(b"a\nb\n")), self._write("y", b"c\r\nd")
    )
    self.assertEqual(contents, same)
    for other in (b"c\ne\n", b"cd\n\n"):
      changed = text_files.check(one, self._write("z", other))
      self.assertNotEqual(contents.fingerprint, changed.fingerprint)

  def test_misaligned(self):
    one = self._write("one.en", b"a\n" * 1000)
    two = self._write("two.de", b"b\n" * 1001)
    self.assertMistake(
      lambda: text_files.check(one, two),
      "one.en and ",
      "two.de are not aligned",
      "1,000 and 1,001 lines",
    )

  def test_missing_and_empty(self):
    text = self._write("text", b"a\n")
    nowhere = os.path.join(self.get_temp_dir(), "nowhere.en")
    self.assertMistake(
      lambda: text_files.check(nowhere, text), "nowhere.en is not a file"
    )
    self.assertMistake(
      lambda: text_files.check(text, self.get_temp_dir()), "is not a file"
    )
    self.assertMistake(
      lambda: text_files.check(text, self._write("no", b"")), "no is empty"
    )

  @parameterized.named_parameters(
    ("latin1", "Straße\n".encode("latin1"), "line 3"),
    ("utf16", "a\n".encode("utf-16"), "line 3"),
    ("cut", "ä".encode()[:1], "line 3"),
  )
  def test_not_utf8(self, content, line):
    path = self._write("bad.de", b"a\nb\n" + content)
    self.assertMistake(
      lambda: list(text_files.read_lines(path)),
      f"bad.de, {line}: this is not UTF-8",
    )

  def test_damaged_gzip(self):
    content = gzip.compress(bytes(range(97, 123)) * 1000)
    for damaged in (content[:-9], content[:20] + b"\0\1\2" + content[23:]):
      path = self._write("bad.gz", damaged)
      self.assertMistake(
        lambda path=path: list(text_files.read_lines(path)),
        "bad.gz cannot be read",
      )


if __name__ == "__main__":
  tf.test.main()
