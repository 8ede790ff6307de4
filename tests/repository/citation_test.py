"""CITATION.cff is of the version that the package has."""

import pathlib
import re

from absl.testing import absltest

_ROOT = pathlib.Path(__file__).resolve().parents[2]


class CitationTest(absltest.TestCase):
  def test_version(self):
    package = (_ROOT / "lookahead_tf" / "version.py").read_text()
    citation = (_ROOT / "CITATION.cff").read_text()
    self.assertEqual(
      re.findall(r"^version: (.+)$", citation, re.MULTILINE),
      re.findall(r'__version__ = "(.+)"', package),
    )


if __name__ == "__main__":
  absltest.main()
