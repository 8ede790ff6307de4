"""Writes the BUILD files, from the Python files and their imports.

python -m tools.build_files           writes them
python -m tools.build_files --check   names those that are not up to date

Every file gets a target of its own with explicit dependencies: a py_test for
*_test.py, a py_binary for programs, a py_library for the rest.
"""

import ast
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGES = (
  "benchmarks",
  "configs",
  "experiments",
  "lookahead_tf",
  "tests",
  "tools",
  "trainers",
)
# The distribution of a module where it is not the module's name.
DISTRIBUTIONS = {
  "PIL": "pillow",
  "absl": "absl_py",
  "sklearn": "scikit_learn",
}
# Tests of half a minute and more, for the README's test command alone.
SLOW = {
  "tests/benchmarks/programs_test.py",
  "tests/configs/configs_test.py",
  "tests/configs/translation_configs_test.py",
  "tests/lookahead_tf/callbacks_test.py",
  "tests/lookahead_tf/composition_test.py",
  "tests/lookahead_tf/conformance_test.py",
  "tests/lookahead_tf/saving_test.py",
  "tests/trainers/flags_test.py",
  "tests/trainers/image_classification/train_test.py",
  "tests/trainers/resume_test.py",
  "tests/trainers/strategies_test.py",
  "tests/trainers/translation/decoding_test.py",
  "tests/trainers/translation/flags_test.py",
  "tests/trainers/translation/train_test.py",
  "tests/trainers/translation/trained_test.py",
  "tests/trainers/translation/training_step_test.py",
  "tests/trainers/translation/two_processes_test.py",
}
_PROGRAM = ["//configs:files", "//trainers/image_classification:main"]
_TRANSLATION_PROGRAM = ["//configs:files", "//trainers/translation:main"]
# What a program opens or imports by name, which its imports do not show.
DATA = {
  "benchmarks/added_memory.py": ["//benchmarks:optimizer_memory"],
  "benchmarks/peer_worker.py": [
    "//benchmarks:marian_generation",
    "//benchmarks:torch_training",
    "//benchmarks:torchvision_input",
    "//benchmarks:torch_translation",
  ],
  "benchmarks/peers.py": ["//benchmarks:peer_worker"],
  "experiments/compare_optimizers.py": ["//configs:files"],
  "tests/benchmarks/programs_test.py": [
    "//benchmarks:image_input",
    "//benchmarks:optimizer_memory",
    "//benchmarks:optimizer_step",
    "//benchmarks:train_step",
    "//benchmarks:training_step",
    "//benchmarks:translation_decoding",
    "//benchmarks:translation_input",
    "//benchmarks:translation_step",
  ],
  "tests/configs/configs_test.py": ["//configs:files"],
  "tests/configs/translation_configs_test.py": ["//configs:files"],
  "tests/experiments/compare_optimizers_test.py": [
    "//configs:files",
    "//experiments:compare_optimizers",
  ],
  "tests/trainers/overrides_test.py": ["//configs:files"],
  "tests/docs/recipes_test.py": ["//:files"],
  "tests/lookahead_tf/golden_test.py": ["//tests/lookahead_tf/golden:files"],
  "tests/lookahead_tf/tfa_test.py": [
    "//tests/lookahead_tf/tfa_checkpoints:files"
  ],
  "tests/repository/build_files_test.py": ["//:files"],
  "tests/repository/imports_test.py": ["//:files"],
  "tests/trainers/flags_test.py": _PROGRAM,
  "tests/trainers/resume_test.py": _PROGRAM,
  "tests/trainers/strategies_test.py": _PROGRAM,
  "tests/trainers/translation/flags_test.py": _TRANSLATION_PROGRAM,
  "tests/trainers/translation/two_processes_test.py": _TRANSLATION_PROGRAM,
}
# For environments with other packages than those of requirements.txt.
FOREIGN = {
  "benchmarks/marian_generation.py",
  "benchmarks/peer_worker.py",
  "benchmarks/torch_training.py",
  "benchmarks/torchvision_input.py",
  "benchmarks/torch_translation.py",
  "lookahead_tf/backends/jax.py",
  "lookahead_tf/backends/torch.py",
  "tests/lookahead_tf/tfa_checkpoints/make.py",
  "trainers/tpu_compiler.py",
}
HEADER = "# Written by tools/build_files.py: change that, or the imports.\n"
VISIBILITY = 'package(default_visibility = ["//visibility:public"])\n'
FILES = """\
filegroup(
    name = "files",
    srcs = glob(
        ["**"],
        exclude = ["**/__pycache__/**"],
    ),
)
"""


def build_files() -> dict[pathlib.Path, str]:
  """Returns the contents of each BUILD file."""
  directories = {
    path.parent
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
  }
  packages = sorted(directories)
  return {
    ROOT / "BUILD": _root_build_file(packages),
    **{package / "BUILD": _build_file(package) for package in packages},
  }


def _root_build_file(packages):
  labels = [f"//{package.relative_to(ROOT)}:files" for package in packages]
  return "\n".join(
    [
      HEADER + VISIBILITY,
      'alias(\n    name = "lookahead_tf",\n    actual = "//lookahead_tf",\n)\n',
      "filegroup(",
      '    name = "files",',
      '    srcs = ["BUILD"] + glob(["docs/*.md"]) + [',
      *(f'        "{label}",' for label in labels),
      "    ],",
      ")\n",
    ]
  )


def _build_file(directory):
  targets = [_target(path) for path in sorted(directory.glob("*.py"))]
  rules = sorted({rule for rule, _, _ in targets})
  loads = ", ".join(f'"{rule}"' for rule in rules)
  parts = [
    HEADER + f'load("@rules_python//python:defs.bzl", {loads})\n',
    VISIBILITY,
    FILES,
  ]
  parts.extend(_format(rule, path, deps) for rule, path, deps in targets)
  return "\n".join(parts)


def _target(path):
  """Returns (rule, path, sorted labels of the dependencies)."""
  tree = ast.parse(path.read_text())
  if path.name.endswith("_test.py"):
    rule = "py_test"
  elif _is_program(tree):
    rule = "py_binary"
  else:
    rule = "py_library"
  labels = {_label(name) for name in _imports(tree)} - {None}
  if path.relative_to(ROOT).as_posix() in FOREIGN:
    labels = set()
  return rule, path, sorted(labels)


def _is_program(tree):
  return any(
    isinstance(node, ast.If) and "__main__" in ast.unparse(node.test)
    for node in tree.body
  )


def _imports(tree):
  """Yields candidates for the module behind each import, the longest first."""
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      for alias in node.names:
        yield (alias.name,)
    elif isinstance(node, ast.ImportFrom):
      for alias in node.names:
        yield (f"{node.module}.{alias.name}", node.module)


def _label(candidates):
  """Returns the label of the first candidate that is a module, or None."""
  top = candidates[0].split(".")[0]
  if top in sys.stdlib_module_names:
    return None
  for name in candidates:
    path = ROOT.joinpath(*name.split("."))
    for file in (path.with_suffix(".py"), path / "__init__.py"):
      if file.exists():
        package = file.parent.relative_to(ROOT).as_posix()
        # In a label a target that is named like its package goes without.
        is_default = package.split("/")[-1] == _name(file)
        return f"//{package}" + ("" if is_default else f":{_name(file)}")
  return f"@pypi//{DISTRIBUTIONS.get(top, top)}"


def _name(path):
  """Returns the name of a file's target; a package's is that of its folder."""
  if path.name == "__init__.py":
    return path.parent.name
  return "main" if path.name == "__main__.py" else path.stem


def _format(rule, path, labels):
  relative = str(path.relative_to(ROOT))
  lines = [f'    name = "{_name(path)}",', f'    srcs = ["{path.name}"],']
  if rule != "py_library" and _name(path) != path.stem:
    lines.append(f'    main = "{path.name}",')
  if relative in SLOW:
    lines.append('    tags = ["slow"],')
  for attribute, values in (("data", DATA.get(relative)), ("deps", labels)):
    if values:
      lines.append(f"    {attribute} = [")
      lines.extend(f'        "{value}",' for value in values)
      lines.append("    ],")
  return "\n".join([f"{rule}(", *lines, ")\n"])


def main(arguments: list[str]) -> int:
  """Writes the files, or checks them; returns the exit status."""
  contents = build_files()
  stale = [
    path
    for path, text in contents.items()
    if not path.exists() or path.read_text() != text
  ]
  for path in stale:
    print(path.relative_to(ROOT))
    if "--check" not in arguments:
      path.write_text(contents[path])
  return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
