"""Files that tests write and read, and mistakes in them."""

import os
import tempfile
from collections.abc import Callable
from typing import Any

from trainers.errors import UserError


class WrittenFiles:
  """A mixin of test cases that read files which they write."""

  def write(self, name: str, content: bytes) -> str:
    """Writes a file in a directory of its own, and returns its path."""
    directory = tempfile.mkdtemp(dir=self.get_temp_dir())
    path = os.path.join(directory, name)
    with open(path, "wb") as file:
      file.write(content)
    return path

  def assertMistake(self, function: Callable[[], Any], *words: str) -> None:
    """Asserts that a function raises a UserError that says all of `words`."""
    with self.assertRaises(UserError) as raised:
      function()
    for word in words:
      self.assertIn(word, str(raised.exception))
