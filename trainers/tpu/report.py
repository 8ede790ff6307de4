"""What was found out by compiling a step for TPUs, as text."""

import dataclasses
import math
import re
from collections.abc import Sequence

from trainers.tpu import chips as chips_lib
from trainers.tpu.chips import Cost

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
# Of columns whose head may be shorter than what is in them.
_WIDTHS = (7, 0, 14, 16, 9, 11, 8, 6, 10, 0, 0, 0)
_NOTE = """\
Memory in MiB, FLOP and bytes are those of one device in one step. The last two
columns are the roofline of published peaks: bounds, not measurements.
"""


@dataclasses.dataclass(frozen=True)
class Failure:
  """Why there is no cost of a step.

  Attributes:
    message: The compiler's, or the sentence that tells the user's mistake.
    is_mistake: Whether it is a mistake of the user.
  """

  message: str
  is_mistake: bool = False


@dataclasses.dataclass(frozen=True)
class Result:
  """What became of one slice.

  Attributes:
    name: The slice, a key of `chips_lib.SLICES`.
    devices: How many it has, or 0 if the compiler does not know the slice.
    step: The cost of the training step.
    inner_step: That of the step with the inner optimizer alone, or None if it
      was not compiled.
  """

  name: str
  devices: int
  step: Cost | Failure
  inner_step: Cost | Failure | None = None

  def is_mistake(self) -> bool:
    """Whether the step cannot be made, by a mistake of the user."""
    return isinstance(self.step, Failure) and self.step.is_mistake

  def verdict(self) -> str:
    """Returns "compiles", or that it does not, does not fit or is not made."""
    if self.is_mistake():
      return "cannot be made"
    if isinstance(self.step, Failure):
      is_full = re.search("RESOURCE_EXHAUSTED|out of memory", self.step.message)
      return "does not fit" if is_full else "does not compile"
    fits = self.step.total <= chips_lib.SLICES[self.name].hbm_gib * 2**30
    return "compiles" if fits else "does not fit"


class Table:
  """A Markdown table that is made row by row, as results come.

  Args:
    global_batch_size: Examples in a step over all devices.
    unit: What an example is called.
  """

  def __init__(self, global_batch_size: int, unit: str = "examples"):
    self._global_batch_size = global_batch_size
    self._head = (*_HEAD, f"{unit}/s, at most")
    self._widths = [
      max(len(name), width) for name, width in zip(self._head, _WIDTHS)
    ]
    self._has_head = False

  def add(self, result: Result) -> str:
    """Returns lines: the head before the first row, and the row of a result.

    That is the row of the training step; if the result has an `inner_step`,
    that of what Lookahead adds.
    """
    lines = []
    if not self._has_head:
      lines = [self._head, ["-" * width for width in self._widths]]
      self._has_head = True
    if result.inner_step is None:
      lines.append(_row(result, self._global_batch_size))
    else:
      lines.append(_added_row(result))
    return "".join(
      "| " + " | ".join(map(str.ljust, line, self._widths)) + " |\n"
      for line in lines
    )


def format_notes(results: Sequence[Result]) -> str:
  """Returns what belongs below the table: its units, and errors, a line each.

  Args:
    results: The last of each slice.
  """
  errors = []
  for result in results:
    for step, what in (
      (result.step, result.name),
      (result.inner_step, f"{result.name} without Lookahead"),
    ):
      if isinstance(step, Failure):
        errors.append(f"{what}: {shorten(step.message)}\n")
  return "\n".join(filter(None, [_NOTE, "".join(errors)]))


def shorten(error: str, length: int = 300) -> str:
  """Returns the first sentences of a compiler's error in one line."""
  line = " ".join(error.split())
  return line if len(line) <= length else line[: length - 3] + "..."


def _row(result, global_batch_size):
  devices = str(result.devices or "")
  start = (result.name, devices, "training", result.verdict())
  chips = chips_lib.SLICES[result.name]
  cost = result.step
  if isinstance(cost, Failure):
    return (*start, "", "", "", f"{chips.hbm_gib * 1024:,.0f}", "", "", "", "")
  seconds = chips_lib.least_seconds(chips, cost)
  return (
    *start,
    _mib(cost.arguments),
    _mib(cost.temporaries),
    _mib(cost.total),
    f"{chips.hbm_gib * 1024:,.0f}",
    _number(cost.flop / 1e9),
    _number(cost.accessed / 1e9),
    _number(seconds * 1e3),
    _number(global_batch_size / seconds, ",.0f"),
  )


def _added_row(result):
  """Returns what Lookahead adds to the cost of the inner optimizer's step."""
  start = ("", "", "Lookahead adds")
  ours, inner = result.step, result.inner_step
  if isinstance(inner, Failure):
    return (*start, "unknown", *[""] * 8)
  return (
    *start,
    "",
    _mib(ours.arguments - inner.arguments, "+"),
    _mib(ours.temporaries - inner.temporaries, "+"),
    _mib(ours.total - inner.total, "+"),
    "",
    _number((ours.flop - inner.flop) / 1e9, "+,.3f"),
    _number((ours.accessed - inner.accessed) / 1e9, "+,.3f"),
    "",
    "",
  )


def _mib(size, sign=""):
  return f"{size / 2**20:{sign},.1f}"


def _number(value, form=",.3f"):
  return "unknown" if math.isnan(value) else format(value, form)
