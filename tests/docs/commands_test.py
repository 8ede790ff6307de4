"""Commands in the documentation: their modules, flags, configs and fields.

Most would train for minutes to days. Here each is parsed by the program that
it calls, and its config is checked as far as that takes no data.
"""

import contextlib
import copy
import functools
import os
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from unittest import mock

import tensorflow as tf
from absl import flags as absl_flags
from absl.testing import parameterized

import run as repository
from benchmarks.harness import report
from benchmarks.peers import client
from experiments import results, trials
from tests.docs import pages
from trainers import flags

# What stands for a choice of the reader's, in an order of replacement.
_PLACEHOLDERS = (
  (r"\[(--config\.FIELD=VALUE )?\.\.\.\]|\[--config\.FIELD=VALUE\]", ""),
  (r"\[(--\w[^\]]*)\]", r"\1"),  # Flags that may be left out.
  # For the same arguments as before.
  (r"(?<= )\.\.\.(?=[ ;\n]|$)", "--config=configs/digits.py --workdir=DIR"),
  ("configs/A.py", "configs/digits.py"),
  ("mine.py", "configs/image_folder.py"),  # Of docs/your_own_config.md.
  ("per_second=N", "per_second=100"),
)
_CONFIGS = {
  "trainers.image_classification": "configs/cifar.py",
  "trainers.language_modeling": "configs/ptb.py",
  "trainers.translation": "configs/wmt14.py",
}
_OWN = ("trainers", "experiments", "benchmarks")
# These define flags once in a process, at their import.
_DEFINE_FLAGS = (report, client)
# A module and its arguments, some of them in quotes.
_MODULE = r"python[\d.]* -m ((?:[^\n;|'\"]|'[^']*'|\"[^\"]*\")*)"


def _commands(page):
  """Returns (module, arguments) of each `python -m` in the commands."""
  found = []
  for block in pages.blocks(page):
    if block.language != "bash":
      continue
    text = re.sub(r"\\\n *", "", block.text)
    for pattern, replacement in _PLACEHOLDERS:
      text = re.sub(pattern, replacement, text)
    for line in re.findall(_MODULE, text):
      module, *arguments = shlex.split(line, comments=True)
      config = _CONFIGS.get(module, "")
      found.append(
        (
          module,
          [re.sub("configs/NAME.py(:WORDS)?", config, a) for a in arguments],
        )
      )
  return found


def _parse(module, arguments):
  """Returns what a program makes of a command line: flags, and what is none."""
  values = absl_flags.FlagValues()

  def run_program(main, *define):
    del main
    for one in (flags.define_devices, *define):
      one(values)

  def run_experiment(main, *define, is_random=True):
    del main
    first = results.define_flags if is_random else results.define_workdir
    for one in (first, *define):
      one(values)

  def run_benchmark(main):
    del main
    for owner, defined in absl_flags.FLAGS.flags_by_module_dict().items():
      if owner in {module.__name__ for module in _DEFINE_FLAGS}:
        for flag in defined:
          values[flag.name] = copy.deepcopy(flag)

  with contextlib.ExitStack() as patches:
    for owner, name, replacement in (
      (flags, "run", run_program),
      (results, "run", run_experiment),
      (report, "run", run_benchmark),
    ):
      patches.enter_context(mock.patch.object(owner, name, replacement))
    if module.startswith("benchmarks"):  # They define flags at their import.
      for name in dir(absl_flags):
        if name.startswith(("DEFINE_", "mark_flag", "register_")):
          define = functools.partial(
            getattr(absl_flags, name), flag_values=values
          )
          patches.enter_context(mock.patch.object(absl_flags, name, define))
    runpy.run_module(module, run_name="__main__")
  argv = [module, *arguments]
  with mock.patch.object(sys, "argv", argv):  # ml_collections looks there.
    return values, flags.parse(argv, values)


def _all(find):
  return [
    (f"{page.stem}_{i}", *found)
    for page in pages.PAGES
    for i, found in enumerate(find(page))
  ]


class CommandsTest(tf.test.TestCase, parameterized.TestCase):
  def setUp(self):
    super().setUp()
    before = os.getcwd()
    self.addCleanup(os.chdir, before)
    os.chdir(pages.ROOT)

  @parameterized.named_parameters(
    command for command in _all(_commands) if command[1].startswith(_OWN)
  )
  def test_program(self, module, arguments):
    values, rest = _parse(module, arguments)
    self.assertLen(rest, 1, rest)
    if module in _CONFIGS:
      kind = module.partition(".")[2]
      trials.KINDS[kind].trainer.check(
        values.config, tf.distribute.get_strategy()
      )
    elif "override" in values and "config" in values and values.config:
      axes = trials.parse_grid(values.grid) if "grid" in values else {}
      self.assertNotEmpty(
        trials.make(values.trainer, values.config, axes, 1, values.override)
      )

  def test_other_modules_are_known(self):
    others = {
      module for _, module, _ in _all(_commands) if not module.startswith(_OWN)
    }
    # `tests`: docs/CONTRIBUTING name files of the tests.
    self.assertContainsSubset(
      others, {"pytest", "venv", "tests.lookahead_tf.golden.make"}
    )

  def test_commands_are_found(self):
    # In the form of each kind: several lines, quotes, optional flags.
    found = _commands(pages.ROOT / "docs" / "warmup.md")
    self.assertLen(found, 2)
    self.assertIn("--override=learning_rate.decay_at=(150,)", found[0][1])
    found = _commands(pages.ROOT / "docs" / "language_modeling.md")
    self.assertIn("--top_k=50", found[2][1])
    self.assertGreater(len(_all(_commands)), 40)

  def test_shells_understand_each_block(self):
    for page in pages.PAGES:
      for language, text in pages.blocks(page):
        if language == "bash":
          checked = subprocess.run(
            ["bash", "-n"], input=text, text=True, capture_output=True
          )
          self.assertEqual(checked.stderr, "", f"{page}: {text}")

  def test_extras_and_files_that_are_installed(self):
    project = tomllib.loads((pages.ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    text = "".join(page.read_text() for page in pages.PAGES)
    named = re.findall(r"pip install [^\n`]*'\.\[([\w,-]+)\]", text)
    self.assertNotEmpty(named)
    self.assertContainsSubset(",".join(named).split(","), extras)
    for file in re.findall(r"pip install -r ([\w./-]+)", text):
      self.assertTrue((pages.ROOT / file).exists(), file)

  def test_commands_of_run_py(self):
    for page in pages.PAGES:
      for name in re.findall(r"\brun\.py (\w+)", page.read_text()):
        self.assertIn(name, repository.COMMANDS, page)


if __name__ == "__main__":
  tf.test.main()
