"""Runs Keras' own tests with Lookahead around the optimizers that they make.

With `slow_step_size=1` Lookahead does what its inner optimizer does. So the
tests that Keras has for its optimizers, for `fit`, callbacks and files have to
pass. Keras' wheel brings them. The environment needs Keras, a backend, pytest,
and what the tests use: TensorFlow, JAX, grain, orbax-checkpoint, scikit-learn,
tensorboard. From the root of the repository:

  KERAS_BACKEND=jax python -m tools.keras_own_tests
  KERAS_BACKEND=jax python -m tools.keras_own_tests optimizers/adam_test.py

keras_own_tests.toml has the files that are run, and the tests that cannot pass,
with reasons. The program fails if another test fails, if a reason is not needed
any more, or if the tests of a file make no step of Lookahead.
"""

import argparse
import collections
import contextlib
import fnmatch
import importlib
import os
import pathlib
import sys
import tempfile
import tomllib
from typing import Any

import keras
import pytest

from lookahead_tf import Lookahead

_SETTINGS = tomllib.loads(
  pathlib.Path(__file__).with_suffix(".toml").read_text()
)
_KERAS = pathlib.Path(keras.__file__).parent


class _Wrapped:
  """Takes the place of a class of optimizers.

  Args:
    kind: The class.
    wrap: Takes an optimizer and returns Lookahead around it.
  """

  def __init__(self, kind: type, wrap: Any):
    self._kind = kind
    self._wrap = wrap

  def __call__(self, *arguments, **keywords):
    return self._wrap(self._kind(*arguments, **keywords))

  def __getattr__(self, name):
    return getattr(self._kind, name)

  def __instancecheck__(self, instance):
    inside = getattr(instance, "inner_optimizer", instance)
    return isinstance(inside, self._kind)

  def __mro_entries__(self, bases):
    return (self._kind,)


class _Wrapping:
  """Wraps optimizers for the tests, as a plugin of pytest.

  Attributes:
    steps: How often the tests of each file called `Lookahead.apply`.
  """

  def __init__(self):
    self._file = ""
    self._sync_period = 2
    self.steps = collections.Counter()

  def install(self) -> None:
    """Wraps what the classes of Keras and its `optimizers.get` make."""
    package = importlib.import_module("keras.src.optimizers")
    around = (package.LossScaleOptimizer, package.MultiOptimizer)
    kinds = set()
    for name, module in list(sys.modules.items()):
      if name.startswith(package.__name__):
        for attribute, kind in list(vars(module).items()):
          if (
            isinstance(kind, type)
            and issubclass(kind, package.Optimizer)
            and kind not in (package.Optimizer, *around)
          ):
            kinds.add(kind)
            setattr(module, attribute, _Wrapped(kind, self._wrap))
    get, apply = package.get, Lookahead.apply

    def get_wrapped(identifier):
      optimizer = get(identifier)
      is_to_wrap = type(optimizer) in kinds and not optimizer.built
      return self._wrap(optimizer) if is_to_wrap else optimizer

    def count_and_apply(optimizer, *arguments, **keywords):
      self.steps[self._file] += 1
      return apply(optimizer, *arguments, **keywords)

    package.get = get_wrapped
    Lookahead.apply = count_and_apply

  def _wrap(self, optimizer):
    return Lookahead(
      optimizer, sync_period=self._sync_period, slow_step_size=1.0
    )

  def pytest_runtest_setup(self, item):
    self._file = _name(item).partition("::")[0]
    patterns = _SETTINGS["sync_period_of_1"]["tests"]
    self._sync_period = 1 if _matches(item, patterns) else 2


class _Judging:
  """Expects exceptions to fail, and counts results, as a plugin of pytest.

  Attributes:
    results: How many tests of each file passed, failed and so on.
  """

  def __init__(self):
    backend = keras.backend.backend()
    self._reasons = {
      pattern: entry["reason"]
      for entry in _SETTINGS["cannot_pass"]
      if entry.get("backend", backend) == backend
      for pattern in entry["tests"]
    }
    self._exceptions = collections.defaultdict(list)
    self.results = collections.defaultdict(collections.Counter)

  def pytest_collection_modifyitems(self, items):
    for item in items:
      for pattern, reason in self._reasons.items():
        if _matches(item, [pattern]):
          item.add_marker(pytest.mark.xfail(reason=reason))

  def pytest_runtest_logreport(self, report):
    outcome = report.outcome
    if report.when != "call" and outcome == "passed":
      return
    if hasattr(report, "wasxfail"):
      outcome = "excepted" if outcome == "skipped" else "passed"
      self._exceptions[outcome].append(_name(report))
    self.results[_name(report).partition("::")[0]][outcome] += 1

  def unneeded(self) -> list[str]:
    """Returns the exceptions whose tests passed, each of them."""
    return [
      pattern
      for pattern in self._reasons
      if fnmatch.filter(self._exceptions["passed"], pattern)
      and not fnmatch.filter(self._exceptions["excepted"], pattern)
    ]


def _name(test):
  return test.nodeid.removeprefix("keras/src/")


def _matches(test, patterns):
  return any(fnmatch.fnmatchcase(_name(test), p) for p in patterns)


def _summary(steps, judging):
  """Prints counts by file; returns what is wrong, a sentence each."""
  kinds = ("passed", "excepted", "skipped", "failed")
  total = collections.Counter()
  row = "{:45}" + "{:>10}" * (len(kinds) + 1)
  print("\n" + row.format("", *kinds, "steps"))
  wrong = []
  for file, results in judging.results.items():
    total += results
    print(row.format(file, *(results[k] for k in kinds), steps[file]))
    if not steps[file] and results["passed"]:
      wrong.append(f"{file} made no step of Lookahead")
  print(row.format("", *(total[k] for k in kinds), sum(steps.values())))
  wrong += [f"cannot_pass names {p}, which passed" for p in judging.unneeded()]
  if not total["passed"]:
    wrong.append("no test passed")
  return wrong


def main() -> int:
  """Runs the tests; returns the exit status."""
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument(
    "files",
    nargs="*",
    default=_SETTINGS["files"],
    help="test files in keras/src, or patterns of them",
  )
  parser.add_argument(
    "--bare", action="store_true", help="run the tests without Lookahead"
  )
  flags = parser.parse_args()
  paths = []
  for pattern in flags.files:
    found = sorted((_KERAS / "src").glob(pattern))
    if not found:
      parser.error(
        f"Keras {keras.__version__}, in {_KERAS}, has no tests {pattern!r}"
      )
    paths += map(str, found)
  wrapping, judging = _Wrapping(), _Judging()
  if not flags.bare:
    wrapping.install()
  # Without the configuration of the repository that this is run in.
  options = [f"--rootdir={_KERAS.parent}", f"-c{os.devnull}", "--no-header"]
  options += ["--import-mode=importlib", "-pno:cacheprovider", "--tb=short"]
  with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
    status = pytest.main(
      [*options, "--disable-warnings", *paths],
      plugins=[] if flags.bare else [wrapping, judging],
    )
  if flags.bare:
    return status
  wrong = _summary(wrapping.steps, judging)
  print(f"Keras {keras.__version__} on {keras.backend.backend()}")
  if keras.__version__ != _SETTINGS["keras"]:
    print(f"The exceptions are those of Keras {_SETTINGS['keras']}.")
  for sentence in wrong:
    print(f"ERROR: {sentence}.")
  return status or int(bool(wrong))


if __name__ == "__main__":
  sys.exit(main())
