"""The pages of the documentation, and the programs and commands in them."""

import pathlib
import re
from typing import NamedTuple

ROOT = pathlib.Path(__file__).parents[2]
PAGES = [
  ROOT / "README.md",
  ROOT / "CONTRIBUTING.md",
  *sorted((ROOT / "docs").glob("*.md")),
]
# What a block without a language begins with, if the block is of commands.
_COMMANDS = re.compile(
  r"(export|curl|pip|python3?|tensorflow_model_server|tfds|until|uv"
  r"|\S*/bin/\w+) "
)


class Block(NamedTuple):
  """A fenced block of a page.

  Attributes:
    language: The word behind the fence, "bash" for commands.
    text: What is between the fences, without their indentation.
  """

  language: str
  text: str


def blocks(page: pathlib.Path) -> list[Block]:
  """Returns the fenced blocks of a page, in order."""
  return [
    Block(
      language or ("bash" if _COMMANDS.match(text.lstrip()) else ""),
      re.sub(f"^{indentation}", "", text, flags=re.MULTILINE),
    )
    for indentation, language, text in re.findall(
      r"^( *)```([^\n`]*)\n(.*?)^ *```$",
      page.read_text(),
      re.DOTALL | re.MULTILINE,
    )
  ]


def programs(page: pathlib.Path) -> list[str]:
  """Returns the blocks of Python of a page that is no notebook."""
  return [text for language, text in blocks(page) if language == "python"]
