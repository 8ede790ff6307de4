"""Pairs of text files, plain or gzip, of which one is the other's translation.

Line i of the one is the translation of line i of the other.
"""

import dataclasses
import gzip
import hashlib
import itertools
import zlib
from collections.abc import Iterator

import tensorflow as tf

from trainers.errors import UserError, first_line

_GZIP = b"\x1f\x8b"
_CHUNK = 1 << 20  # Bytes read at once.


@dataclasses.dataclass(frozen=True)
class Contents:
  """What a pair of files was found to hold.

  Attributes:
    size: Lines in each.
    fingerprint: The same for the same text only.
  """

  size: int
  fingerprint: str


def check(source: str, target: str) -> Contents:
  """Reads two files to their ends to see whether they are aligned text.

  Raises:
    UserError: if a file is not there, cannot be read, is empty or is not UTF-8,
      or if they differ in their number of lines.
  """
  fingerprint = hashlib.sha256()
  counts = [0, 0]
  pairs = itertools.zip_longest(read_lines(source), read_lines(target))
  for lines in pairs:
    for i, line in enumerate(lines):
      if line is not None:
        counts[i] += 1
        fingerprint.update(line.encode() + b"\n")
  for path, count in zip((source, target), counts):
    if not count:
      raise UserError(f"{path} is empty.")
  if counts[0] != counts[1]:
    raise UserError(
      f"{source} and {target} are not aligned: they have {counts[0]:,} and "
      f"{counts[1]:,} lines, where line by line one must be the translation of "
      "the other. (Only \\n and \\r\\n end a line.)"
    )
  return Contents(counts[0], fingerprint.hexdigest())


def read_lines(path: str) -> Iterator[str]:
  r"""Yields the lines of a text file without the white space around them.

  A line ends with \n or \r\n and with nothing else: U+2028, U+0085 or a lone \r
  within it are text. A byte order mark before the first is left out.

  Args:
    path: A file of UTF-8, plain or gzip whatever it is called.

  Raises:
    UserError: if it is not there, cannot be read, or is not UTF-8.
  """
  for number, line in enumerate(_read_bytes(path), 1):
    try:
      text = line.decode()
    except UnicodeDecodeError as error:
      raise UserError(
        f"{path}, line {number:,}: this is not UTF-8 ({error.reason} at byte "
        f"{error.start + 1} of the line). Convert the file: iconv -t UTF-8"
      ) from None
    yield (text.removeprefix("\ufeff") if number == 1 else text).strip()


def _read_bytes(path):
  """Yields what is between the line feeds of a file, as bytes."""
  if not tf.io.gfile.exists(path) or tf.io.gfile.isdir(path):
    raise UserError(f"{path} is not a file.")
  try:
    with tf.io.gfile.GFile(path, "rb") as file:
      is_compressed = file.read(len(_GZIP)) == _GZIP
      file.seek(0)
      stream = gzip.GzipFile(fileobj=file) if is_compressed else file
      rest = b""
      while chunk := stream.read(_CHUNK):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
      if rest:
        yield rest
  # What gzip raises of a file that is cut off, or damaged, comes first.
  except (EOFError, zlib.error, OSError, tf.errors.OpError) as error:
    raise UserError(f"{path} cannot be read: {first_line(error)}") from error
