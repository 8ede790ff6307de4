"""The parts of .ci/run: GitHub runs each, CONTRIBUTING.md tells of each."""

import pathlib
import re

from absl.testing import absltest

_ROOT = pathlib.Path(__file__).resolve().parents[2]


class CiTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self._script = (_ROOT / ".ci" / "run").read_text()
    (listed,) = re.findall(r"^parts=\(([^)]*)\)", self._script, re.MULTILINE)
    self._parts = listed.split()

  def test_each_part_is_a_function(self):
    functions = re.findall(r"^part_(\w+)\(\)", self._script, re.MULTILINE)
    self.assertEqual(functions, self._parts)

  def test_github_runs_each_part_once(self):
    workflow = (_ROOT / ".github" / "workflows" / "ci.yml").read_text()
    (jobs,) = re.findall(r"^ +parts:\n((?: +- .*\n)+)", workflow, re.MULTILINE)
    named = jobs.replace("- ", " ").split()
    self.assertEqual(named, self._parts)

  def test_the_table_has_each_part(self):
    page = (_ROOT / "CONTRIBUTING.md").read_text()
    _, _, section = page.partition("## Continuous integration")
    section, _, _ = section.partition("\n## ")
    rows = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    self.assertEqual(rows, self._parts)


if __name__ == "__main__":
  absltest.main()
