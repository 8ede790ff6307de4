"""Lines of text files, plain or gzip."""

import gzip
import os
import zlib
from collections.abc import Iterator

import tensorflow as tf

from trainers.errors import UserError, first_line
from trainers.files import tell_archives

_GZIP = b"\x1f\x8b"
_CHUNK = 1 << 20  # Bytes read at once.


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
    archives = tell_archives(os.path.dirname(path))
    raise UserError(f"{path} is not a file.{archives}")
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
  # gzip raises an EOFError for a file that is cut off, and a zlib.error or an
  # OSError for a damaged one.
  except (EOFError, zlib.error, OSError, tf.errors.OpError) as error:
    raise UserError(f"{path} cannot be read: {first_line(error)}") from error
