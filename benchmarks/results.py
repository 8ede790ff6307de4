"""Tables and files of results, with what one has to know about the run."""

import datetime
import importlib.metadata
import json
import os
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from trainers import workdir as workdir_lib


def make_table(rows: Sequence[Sequence[str]]) -> str:
  """Returns a Markdown table, aligned to be read as plain text too.

  Args:
    rows: The head of the table, then its rows.
  """
  widths = [max(map(len, column)) for column in zip(*rows)]
  head, *body = rows
  lines = [head, ["-" * width for width in widths], *body]
  return "".join(
    "| " + " | ".join(map(str.ljust, line, widths)) + " |\n" for line in lines
  )


def describe_run(program: str, packages: Sequence[str]) -> dict[str, Any]:
  """Returns what one has to know to judge, or to repeat, a measurement.

  Args:
    program: Name of the module that was started.
    packages: Distributions whose versions matter.
  """
  return {
    "command": shlex.join(["python", "-m", program, *sys.argv[1:]]),
    "date": datetime.date.today().isoformat(),
    "machine": (
      f"{_processor()}, {cores()} cores, "
      f"{_memory() / 2**30:.0f} GiB, {platform.system()} {platform.release()}"
    ),
    "versions": {"python": platform.python_version()}
    | {name: importlib.metadata.version(name) for name in packages},
  }


def cores() -> int:
  """Returns how many cores there are for this process."""
  return len(os.sched_getaffinity(0))


def _processor():
  with open("/proc/cpuinfo") as file:
    for line in file:
      if line.startswith("model name"):
        return line.split(":", 1)[1].strip()
  return platform.machine()


def _memory():
  return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def write(
  directory: str, run: Mapping[str, Any], text: str, results: Mapping[str, Any]
) -> str:
  """Writes `text` to table.md and `results` to results.json.

  Args:
    directory: Created if needed.
    run: What `describe_run` returned; goes into both files.
    text: Markdown.
    results: Fields for results.json.

  Returns:
    What table.md holds: the text, and how it came about.
  """
  versions = ", ".join(f"{name} {v}" for name, v in run["versions"].items())
  text = (
    f"{text}\n{run['date']}, {run['machine']}; {versions}:\n\n"
    f"```\n{run['command']}\n```\n"
  )
  os.makedirs(directory, exist_ok=True)
  workdir_lib.write_whole(os.path.join(directory, "table.md"), text)
  workdir_lib.write_whole(
    os.path.join(directory, "results.json"),
    json.dumps({**run, **results}, indent=2) + "\n",
  )
  return text
