"""Who may import whom: the directions that the layout promises."""

import ast
import functools
import pathlib
import sys

from absl.testing import absltest, parameterized

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_TASKS = {
  f"trainers.{path.parent.name}"
  for path in (_ROOT / "trainers").glob("*/__main__.py")
}


@functools.cache
def imported(path: pathlib.Path) -> frozenset[str]:
  """Returns the full names of the modules that a file imports."""
  names = set()
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      names |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      names |= {f"{node.module}.{alias.name}" for alias in node.names}
  return frozenset(names)


def _files(directory):
  return sorted((_ROOT / directory).rglob("*.py"))


def _is_of(name, *packages):
  return any(name == p or name.startswith(f"{p}.") for p in packages)


class ImportsTest(parameterized.TestCase):
  def assertImportsOnly(self, path, *packages):
    for name in imported(path):
      if name.split(".")[0] not in sys.stdlib_module_names:
        self.assertTrue(_is_of(name, *packages), f"{path} imports {name}")

  def test_the_optimizer_needs_tensorflow_and_keras_alone(self):
    for path in _files("lookahead_tf"):
      allowed = ["tensorflow", "keras", "numpy", "lookahead_tf"]
      if path.parent.name == "backends":
        allowed.append(path.stem)  # Its own framework.
      self.assertImportsOnly(path, *allowed)

  def test_the_optimizer_works_without_tensorflow(self):
    # With another backend of Keras. What needs it imports it when called.
    users = [
      path.name
      for path in _files("lookahead_tf")
      for node in ast.parse(path.read_text()).body
      if isinstance(node, ast.Import)
      and any(_is_of(alias.name, "tensorflow") for alias in node.names)
    ]
    self.assertCountEqual(users, ["replicas.py", "tensorflow.py"])

  def test_configs_import_ml_collections_and_each_other(self):
    for path in _files("configs"):
      self.assertImportsOnly(path, "ml_collections", "configs")

  def test_trainers_do_not_import_one_another(self):
    self.assertIn("trainers.image_classification", _TASKS)
    for path in _files("trainers"):
      own = f"trainers.{path.parent.name}"
      for name in imported(path):
        self.assertFalse(
          _is_of(name, "configs", "experiments", "benchmarks", "tests"),
          f"{path} imports {name}",
        )
        self.assertFalse(
          _is_of(name, *(_TASKS - {own})), f"{path} imports {name}"
        )

  def test_input_and_model_do_not_import_each_other(self):
    for task in _TASKS:
      directory = _ROOT / task.replace(".", "/")
      for one, other in (("model", "pipelines"), ("pipelines", "model")):
        for name in imported(directory / f"{one}.py"):
          self.assertFalse(_is_of(name, f"{task}.{other}"))

  def test_configs_are_unpacked_at_the_door(self):
    # Everything else takes what it needs by name.
    doors = {
      "trainers/config_files.py",
      "trainers/flags.py",
      "trainers/overrides.py",
      "trainers/trainer.py",
      "trainers/experiment.py",
      *(
        f"{task.replace('.', '/')}/{name}.py"
        for task in _TASKS
        for name in ("checks", "experiment")
      ),
    }
    # They make configs, or take those of trials to the door.
    doors |= {
      "experiments/trials.py",
      "benchmarks/training_loop.py",
      "benchmarks/transformer.py",
    }
    users = {
      path.relative_to(_ROOT).as_posix()
      for directory in ("lookahead_tf", "trainers", "experiments", "benchmarks")
      for path in _files(directory)
      if any(_is_of(name, "ml_collections") for name in imported(path))
    }
    self.assertEqual(users, doors)

  def test_keras_own_tests_need_the_optimizer_alone(self):
    for path in _files("tools"):
      self.assertImportsOnly(path, "keras", "pytest", "lookahead_tf")

  def test_no_private_keras(self):
    for path in _files("."):
      if ".venv" not in path.parts:
        for name in imported(path):
          self.assertFalse(_is_of(name, "keras.src"), f"{path}: {name}")


if __name__ == "__main__":
  absltest.main()
