"""The BUILD files are in step with the Python files and their imports."""

import ast
import pathlib

from absl.testing import absltest

from tests.repository.imports_test import imported
from tools import build_files

_ROOT = pathlib.Path(__file__).resolve().parents[2]


def _targets(build_file):
  """Returns the py_ rules of a BUILD file: lists of keyword arguments."""
  calls = (
    node.value
    for node in ast.parse(build_file.read_text()).body
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
  )
  return [
    {"rule": call.func.id}
    | {k.arg: ast.literal_eval(k.value) for k in call.keywords}
    for call in calls
    if call.func.id.startswith("py_")
  ]


class BuildFilesTest(absltest.TestCase):
  def test_up_to_date(self):
    for path, text in build_files.build_files().items():
      self.assertTrue(path.exists(), f"{path}: python -m tools.build_files")
      self.assertEqual(
        path.read_text(), text, f"{path}: python -m tools.build_files"
      )

  def test_every_file_has_one_target_and_what_it_imports_is_there(self):
    # Written apart from the tool: from the BUILD files to the imports.
    for build_file in (
      path
      for package in build_files.PACKAGES
      for path in (_ROOT / package).rglob("BUILD")
    ):
      targets = _targets(build_file)
      sources = [source for target in targets for source in target["srcs"]]
      directory = build_file.parent
      self.assertCountEqual(sources, [p.name for p in directory.glob("*.py")])
      for target in targets:
        (source,) = target["srcs"]
        self.assertEqual(
          target["rule"] == "py_test", source.endswith("_test.py"), source
        )
        relative = (directory / source).relative_to(_ROOT).as_posix()
        if relative in build_files.FOREIGN:
          continue
        dependencies = target.get("deps", [])
        for name in imported(directory / source):
          if name.split(".")[0] == "lookahead_tf":
            self.assertTrue(
              any(d.startswith("//lookahead_tf") for d in dependencies),
              f"{directory / source} imports {name}",
            )
          if name.split(".")[0] == "tensorflow":
            self.assertIn("@pypi//tensorflow", dependencies)


if __name__ == "__main__":
  absltest.main()
