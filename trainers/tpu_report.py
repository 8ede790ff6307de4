"""What was found out by compiling a step for TPUs, as text."""

import dataclasses
import re
from collections.abc import Sequence

from trainers import tpu_chips
from trainers.tpu_chips import Cost

_HEAD = (
  "slice",
  "devices",
  "step",
  "",
  "arguments",
  "temporaries",
  "total",
  "of",
  "GFLOP",
  "GB accessed",
  "ms, at least",
)
_NOTE = """\
Memory in MiB, FLOP and bytes are those of one device in one step. The last two
columns are the roofline of published peaks: bounds, not measurements.
"""


@dataclasses.dataclass(frozen=True)
class Result:
  """What became of one slice.

  Attributes:
    name: The slice, a key of `tpu_chips.SLICES`.
    devices: How many it has.
    step: The cost of the training step, or the compiler's error.
    inner_step: That of the step with the inner optimizer alone, or None if the
      step has no Lookahead.
  """

  name: str
  devices: int
  step: Cost | str
  inner_step: Cost | str | None = None

  def verdict(self) -> str:
    """Returns "compiles", "does not compile" or "does not fit"."""
    if isinstance(self.step, str):
      is_full = re.search("RESOURCE_EXHAUSTED|out of memory", self.step)
      return "does not fit" if is_full else "does not compile"
    fits = self.step.total <= tpu_chips.SLICES[self.name].hbm_gib * 2**30
    return "compiles" if fits else "does not fit"


def format_results(
  results: Sequence[Result], global_batch_size: int, unit: str = "examples"
) -> str:
  """Returns a Markdown table, a note on its units, and errors, a line each.

  Args:
    results: One for each slice.
    global_batch_size: Examples in a step over all devices.
    unit: What an example is called.
  """
  rows = [(*_HEAD, f"{unit}/s, at most")]
  for result in results:
    rows.append(_row(result, global_batch_size))
    if result.inner_step is not None:
      rows.append(_added_row(result))
  errors = [
    f"{result.name}: {shorten(result.step)}\n"
    for result in results
    if isinstance(result.step, str)
  ]
  return "\n".join(filter(None, [_table(rows), _NOTE, "".join(errors)]))


def shorten(error: str, length: int = 300) -> str:
  """Returns the first sentences of a compiler's error in one line."""
  line = " ".join(error.split())
  return line if len(line) <= length else line[: length - 3] + "..."


def _row(result, global_batch_size):
  start = (result.name, str(result.devices), "training", result.verdict())
  chips = tpu_chips.SLICES[result.name]
  cost = result.step
  if isinstance(cost, str):
    return (*start, "", "", "", f"{chips.hbm_gib * 1024:,.0f}", "", "", "", "")
  seconds = tpu_chips.least_seconds(chips, cost)
  return (
    *start,
    _mib(cost.arguments),
    _mib(cost.temporaries),
    _mib(cost.total),
    f"{chips.hbm_gib * 1024:,.0f}",
    f"{cost.flop / 1e9:,.3f}",
    f"{cost.accessed / 1e9:,.3f}",
    f"{seconds * 1e3:,.3f}",
    f"{global_batch_size / seconds:,.0f}",
  )


def _added_row(result):
  """Returns what Lookahead adds to the cost of the inner optimizer's step."""
  start = ("", "", "Lookahead adds")
  ours, inner = result.step, result.inner_step
  if isinstance(ours, str) or isinstance(inner, str):
    return (*start, "unknown", *[""] * 8)
  return (
    *start,
    "",
    _mib(ours.arguments - inner.arguments, "+"),
    _mib(ours.temporaries - inner.temporaries, "+"),
    _mib(ours.total - inner.total, "+"),
    "",
    f"{(ours.flop - inner.flop) / 1e9:+,.3f}",
    f"{(ours.accessed - inner.accessed) / 1e9:+,.3f}",
    "",
    "",
  )


def _mib(size, sign=""):
  return f"{size / 2**20:{sign},.1f}"


def _table(rows):
  widths = [max(map(len, column)) for column in zip(*rows)]
  head, *body = rows
  lines = [head, ["-" * max(1, width) for width in widths], *body]
  return "".join(
    "| " + " | ".join(map(str.ljust, line, widths)) + " |\n" for line in lines
  )
