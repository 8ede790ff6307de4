"""The command line of benchmarks, and the reports that they write.

Reports are Markdown tables with the command, the machine and the date.
"""

import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from absl import app, flags

from experiments import results
from trainers import flags as flags_lib
from trainers import hardware

ROUNDS = flags.DEFINE_integer(
  "rounds", 12, "How often each variant is measured.", lower_bound=1
)
PATIENCE = flags.DEFINE_float(
  "patience",
  300.0,
  "Seconds that each case may lose to waiting for a quiet machine.",
  lower_bound=0,
)
_RESULTS = flags.DEFINE_string(
  "results",
  str(pathlib.Path(__file__).parents[1] / "results"),
  "Folder for the report, its JSON and its chart. Created if needed; older "
  "files of the same --name are replaced.",
)
_NAME = flags.DEFINE_string(
  "name", None, "What the files are called; the program's name if not given."
)
flags.register_validator(
  "name",
  lambda name: name is None or (name and os.path.basename(name) == name),
  "must be the name of a file, without a folder",
)


def define_config(help_text: str) -> flags.FlagHolder:
  """Defines --config, whose fields can be overridden as for the trainers."""
  return flags_lib.define_config(help_text, flags.FLAGS)


def run(main: Callable[[], None]) -> None:
  """Parses the command line and calls `main`, as the trainers' programs do.

  A user's mistake ends the program with one sentence: an argument that is no
  flag, an override that does not fit a --config, a `UserError`.
  """
  app.run(
    lambda rest: flags_lib.call(lambda values: main(), rest, flags.FLAGS),
    flags_parser=lambda arguments: flags_lib.parse(arguments, flags.FLAGS),
  )


class Report:
  """The files of one run: NAME.md, NAME.json, and charts beside them.

  Ends the program with a sentence if --results cannot be created.

  Args:
    program: Module that was started, without "benchmarks.".
    title: What was measured, as the heading of NAME.md. The date is added.
    packages: Distributions whose versions matter.

  Attributes:
    versions: Versions by the name of the distribution. Versions of other
      libraries may be added.
  """

  def __init__(self, program: str, title: str, packages: Sequence[str]):
    self._start = pathlib.Path(_RESULTS.value) / (_NAME.value or program)
    try:
      self._start.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
      sys.exit(f"Error: --results={_RESULTS.value} cannot be created: {error}")
    self.versions = {"python": platform.python_version()} | {
      name: importlib.metadata.version(name) for name in packages
    }
    self._run = {
      "command": shlex.join(
        ["python", "-m", f"benchmarks.{program}", *sys.argv[1:]]
      ),
      "date": datetime.date.today().isoformat(),
      "machine": (
        f"{results.processor()}, {hardware.count_cores()} cores, "
        f"{_memory() / 2**30:.0f} GiB, "
        f"{platform.system()} {platform.release()}"
      ),
    }
    self._heading = f"# {title}, {self._run['date']}"
    self._text = ""

  def path(self, ending: str) -> str:
    """Returns the path of a file of this run, such as NAME.png."""
    return f"{self._start}{ending}"

  def write(self, text: str, fields: Mapping[str, Any]) -> None:
    """Writes what was measured so far.

    Args:
      text: Markdown for NAME.md. The heading, the date, the machine, the
        versions and the command are added.
      fields: For NAME.json, JSON-like, which has these four as well.
    """
    versions = ", ".join(f"{name} {v}" for name, v in self.versions.items())
    self._text = (
      f"{self._heading}\n\n{text}\n"
      f"{self._run['date']}, {self._run['machine']}; {versions}:\n\n"
      f"```\n{self._run['command']}\n```\n"
    )
    fields = {**self._run, "versions": self.versions, **fields}
    for ending, content in (
      (".md", self._text),
      (".json", json.dumps(fields, indent=2) + "\n"),
    ):
      pathlib.Path(self.path(ending)).write_text(content)

  def show(self) -> None:
    """Prints what NAME.md holds, and where it is."""
    print(f"\n{self._text}\nWritten to {self.path('.md')}")


def _memory():
  return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
