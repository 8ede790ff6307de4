"""The BUILD files cover each Python file, and what the file imports.

BUILD files and .bzl files are written in Starlark, a part of Python. The test
runs them as Python, with functions that record targets in place of Bazel's.
"""

import collections
import functools
import importlib.metadata
import pathlib
import re
import sys
import types

from absl.testing import absltest

from tests.repository.imports_test import imported

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_MACRO = _ROOT / "tools" / "python_package.bzl"
_LINES = 40


def _build_files():
  """Returns the BUILD files of the packages, without that of the root."""
  return sorted(
    file for folder in _top_folders() for file in folder.rglob("BUILD")
  )


def _python_files():
  return sorted(
    file for folder in _top_folders() for file in folder.rglob("*.py")
  )


def _top_folders():
  return [
    path
    for path in _ROOT.iterdir()
    if path.is_dir()
    and not path.is_symlink()  # Bazel's links to what it builds.
    and not path.name.startswith(".")
    and ((path / "BUILD").exists() or any(path.glob("*.py")))
  ]


def _package_of(path):
  """Returns the closest folder above a file that has a BUILD file."""
  return next(folder for folder in path.parents if (folder / "BUILD").exists())


class _Package:
  """The targets of a BUILD file.

  Attributes:
    targets: The arguments of each target, with its rule, by label.
    functions: What a BUILD file may call, by name.
  """

  def __init__(self, folder):
    self.targets = {}
    self._folder = folder
    self._name = folder.relative_to(_ROOT).as_posix().removeprefix(".")
    rules = {
      rule: functools.partial(self._add_target, rule)
      for rule in ("alias", "filegroup", "py_binary", "py_library", "py_test")
    }
    native = types.SimpleNamespace(
      package_name=lambda: self._name,
      glob=self._glob,
      filegroup=rules["filegroup"],
    )
    macro = {"load": _ignore, "fail": _fail, "native": native, **rules}
    exec(_MACRO.read_text(), macro)
    self.functions = {
      "load": _ignore,
      "package": _ignore,
      "exports_files": lambda names: self._add_target(
        "exports_files", "exports_files", srcs=names
      ),
      "alias": rules["alias"],
      "filegroup": rules["filegroup"],
      "glob": self._glob,
      "python_package": macro["python_package"],
    }

  def read(self):
    """Runs the BUILD file; returns its targets."""
    exec((self._folder / "BUILD").read_text(), dict(self.functions))
    return self.targets

  def label(self, value):
    """Returns a label in its long form; None for the name of a file."""
    if value.startswith("@"):
      return value
    if not value.startswith(("//", ":")):
      return None
    package, _, name = value.partition(":")
    package = package or f"//{self._name}"
    return f"{package}:{name or package.split('/')[-1]}"

  def _add_target(self, rule, name, **arguments):
    values = [
      value
      for argument in ("srcs", "data", "deps")
      for value in arguments.get(argument, [])
    ]
    if "actual" in arguments:
      values.append(arguments["actual"])
    self.targets[f"//{self._name}:{name}"] = {
      "rule": rule,
      "files": {self._folder / v for v in values if self.label(v) is None},
      "labels": {self.label(v) for v in values} - {None},
      "tags": arguments.get("tags", []),
    }

  def _glob(self, include, exclude=(), allow_empty=False):
    """Returns the names of files; folders with a BUILD file are left out."""
    files = {
      path
      for pattern in include
      for path in self._folder.glob(pattern)
      if path.is_file() and _package_of(path) == self._folder
    }
    for pattern in exclude:
      files -= set(self._folder.glob(pattern))
    if not (files or allow_empty):
      raise ValueError(f"{self._folder}/BUILD: no file matches {include}")
    return sorted(path.relative_to(self._folder).as_posix() for path in files)


def _ignore(*arguments, **keywords):
  del arguments, keywords


def _fail(message):
  raise ValueError(message)


def _locked_distributions():
  """Returns the distributions of the lock file as Bazel writes their names."""
  lines = (_ROOT / "requirements_lock.txt").read_text().splitlines()
  return {_bazel_name(line.split("==")[0]) for line in lines if "==" in line}


def _bazel_name(distribution):
  return re.sub(r"[-_.]+", "_", distribution).lower()


def _file_of_module(name):
  """Returns the file of the longest part of a dotted name that is a module."""
  parts = name.split(".")
  for length in range(len(parts), 0, -1):
    path = _ROOT.joinpath(*parts[:length])
    for file in (path.with_suffix(".py"), path / "__init__.py"):
      if file.exists():
        return file
  raise ValueError(f"{name} is no module of this repository")


class BuildFilesTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.root_targets = _Package(_ROOT).read()
    cls.targets = dict(cls.root_targets)
    for file in _build_files():
      cls.targets |= _Package(file.parent).read()
    cls.libraries = {
      source: label
      for label, target in cls.targets.items()
      if target["rule"] == "py_library"
      for source in target["files"]
      if source.suffix == ".py"
    }

  def _reachable(self, label):
    """Returns the labels that a target needs, the target's own among them."""
    found, waiting = set(), [label]
    while waiting:
      label = waiting.pop()
      if label not in found:
        found.add(label)
        if not label.startswith("@"):
          waiting.extend(self.targets[label]["labels"])
    return found

  def test_each_python_file_is_in_a_library(self):
    missing = set(_python_files()) - set(self.libraries)
    self.assertEmpty(
      missing, "Folders without a BUILD file: CONTRIBUTING.md, Add a package."
    )

  def test_each_folder_has_a_build_file_unless_imports_go_both_ways(self):
    imports = collections.defaultdict(set)
    for file in _python_files():
      for name in imported(file):
        if (_ROOT / name.split(".")[0]).is_dir():
          imports[file.parent].add(_file_of_module(name).parent)
    for folder in {file.parent for file in _python_files()}:
      if not (folder / "BUILD").exists():
        package = _package_of(folder / "__init__.py")
        self.assertTrue(
          package in imports[folder] and folder in imports[package],
          f"{folder} needs a BUILD file: CONTRIBUTING.md, Add a package.",
        )

  def test_build_files_are_short(self):
    for file in _build_files():
      lines = len(file.read_text().splitlines())
      self.assertLessEqual(lines, _LINES, file)

  def test_each_test_file_has_a_test_and_the_named_ones_are_slow(self):
    for file in _build_files():
      named_files = re.findall(r'"([^":]+_test\.py)"', file.read_text())
      targets = _Package(file.parent).read()
      self.assertEqual(
        {
          path.relative_to(file.parent).as_posix(): target["tags"]
          for target in targets.values()
          if target["rule"] == "py_test"
          for path in target["files"]
        },
        {
          path.relative_to(file.parent).as_posix(): (
            ["slow"] if path.name in named_files else []
          )
          for path in file.parent.rglob("*_test.py")
          if _package_of(path) == file.parent
        },
        file,
      )

  def test_a_slow_test_that_is_not_there_is_refused(self):
    package = _Package(_ROOT / "tests" / "repository")
    with self.assertRaisesRegex(ValueError, "tests/repository.*gone_test.py"):
      package.functions["python_package"](slow_tests=["gone_test.py"])

  def test_whatever_is_named_is_there(self):
    distributions = _locked_distributions()
    for label, target in self.targets.items():
      for file in target["files"]:
        self.assertTrue(file.exists(), f"{label} names {file}")
      for needed in target["labels"]:
        if needed.startswith("@pypi//"):
          self.assertIn(needed.removeprefix("@pypi//"), distributions, label)
        else:
          self.assertIn(needed, self.targets, label)

  def test_the_root_gives_the_files_of_each_package(self):
    self.assertEqual(
      self.root_targets["//:files"]["labels"],
      {
        f"//{file.parent.relative_to(_ROOT).as_posix()}:files"
        for file in _build_files()
      },
    )

  def test_a_package_reaches_what_its_files_import(self):
    distributions = importlib.metadata.packages_distributions()
    locked = _locked_distributions()
    reachable = {
      label: self._reachable(label) for label in set(self.libraries.values())
    }
    for file, label in self.libraries.items():
      for name in imported(file):
        top = name.split(".")[0]
        if top in sys.stdlib_module_names:
          continue
        if (_ROOT / top).is_dir():
          needed = {self.libraries[_file_of_module(name)]}
        else:
          # Programs for other environments import what the lock has not.
          names = {_bazel_name(name) for name in distributions.get(top, [])}
          needed = {f"@pypi//{name}" for name in names & locked}
        self.assertTrue(
          not needed or needed & reachable[label],
          f"{file} imports {name}, and {label} has none of {needed} in deps",
        )


if __name__ == "__main__":
  absltest.main()
