import gzip

import tensorflow as tf
from absl.testing import parameterized

from tests.trainers.written_files import WrittenFiles
from trainers import text_files


class TextFilesTest(WrittenFiles, tf.test.TestCase, parameterized.TestCase):
  def _lines(self, content):
    return list(text_files.read_lines(self.write("text", content)))

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

  @parameterized.named_parameters(
    ("latin1", "Straße\n".encode("latin1"), "line 3"),
    ("utf16", "a\n".encode("utf-16"), "line 3"),
    ("cut", "ä".encode()[:1], "line 3"),
  )
  def test_not_utf8(self, content, line):
    path = self.write("bad.de", b"a\nb\n" + content)
    self.assertMistake(
      lambda: list(text_files.read_lines(path)),
      f"bad.de, {line}: this is not UTF-8",
    )

  def test_damaged_gzip(self):
    content = gzip.compress(bytes(range(97, 123)) * 1000)
    for damaged in (content[:-9], content[:20] + b"\0\1\2" + content[23:]):
      path = self.write("bad.gz", damaged)
      self.assertMistake(
        lambda path=path: list(text_files.read_lines(path)),
        "bad.gz cannot be read",
      )


if __name__ == "__main__":
  tf.test.main()
