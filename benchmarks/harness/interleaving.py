"""Measures variants in turn, and compares them round by round.

The speed of a machine drifts with its temperature and with other programs.
Variants that take turns meet the same drift, and the ratio of two neighbours is
free of most of it. The median of many rounds is free of single interruptions.
"""

import dataclasses
import math
import os
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import tqdm

# What other programs may use of the machine during a measurement, in cores.
_TOLERATED = 0.2


@dataclasses.dataclass(frozen=True)
class Measurement:
  """What `measure` returns.

  Attributes:
    seconds: For each group and each of its variants the results, one a round.
    disturbed: For each group in how many rounds others used the machine.
  """

  seconds: dict[str, dict[str, list[float]]]
  disturbed: dict[str, int]


def measure(
  groups: Mapping[str, Mapping[str, Callable[[], float]]],
  rounds: int,
  description: str,
  patience: float,
) -> Measurement:
  """Runs every variant once a round, and shows progress on standard error.

  A group during which other programs were busy is measured again, once these
  programs are quiet: a library whose threads wait for one another suffers from
  other programs out of proportion, and not every library suffers alike.

  Args:
    groups: Variants to be compared with one another: functions that do some
      work and return its time in seconds. They may let child processes work.
    rounds: Number of rounds. Every second round has the reverse order, so that
      no variant always comes first.
    description: Text of the progress bar.
    patience: Seconds that may be lost to waiting and measuring again; after
      that disturbed measurements count as well.
  """
  seconds = {
    name: {variant: [] for variant in group} for name, group in groups.items()
  }
  disturbed = dict.fromkeys(groups, 0)
  order = [(name, list(group.items())) for name, group in groups.items()]
  with tqdm.tqdm(total=rounds * len(order), desc=description) as progress:
    for _ in range(rounds):
      for name, units in order:
        results, is_quiet, lost = _run(units, patience)
        patience -= lost
        disturbed[name] += not is_quiet
        for variant, result in results.items():
          seconds[name][variant].append(result)
        progress.set_postfix(disturbed=sum(disturbed.values()))
        progress.update()
        units.reverse()
      order.reverse()
  return Measurement(seconds, disturbed)


def _run(units, patience):
  """Returns (results, whether others were quiet meanwhile, seconds lost)."""
  started = time.monotonic()
  while True:
    lost = time.monotonic() - started
    _, is_quiet = _watch_others(lambda: time.sleep(0.2))
    if is_quiet or lost >= patience:
      results, is_quiet = _watch_others(
        lambda: {name: unit() for name, unit in units}
      )
      if is_quiet or lost >= patience:
        return results, is_quiet, lost


def _watch_others(function):
  """Returns (what `function` returns, whether others were quiet meanwhile)."""
  before, started = _seconds_of_others(), time.monotonic()
  result = function()
  elapsed = time.monotonic() - started
  return result, _seconds_of_others() - before < _TOLERATED * elapsed


def _seconds_of_others():
  """Returns the CPU time that other programs than this used until now."""
  with open("/proc/stat") as file:
    times = [int(ticks) for ticks in file.readline().split()[1:9]]
  user, nice, system, _, _, *rest = times  # Idle and waiting are left out.
  ticks = sum([user, nice, system, *rest])
  for process in _descendants(os.getpid()):
    with open(f"/proc/{process}/stat") as file:
      fields = file.read().rpartition(")")[2].split()
    ticks -= int(fields[11]) + int(fields[12])  # In user and system mode.
  return ticks / os.sysconf("SC_CLK_TCK") - time.process_time()


def _descendants(process):
  """Yields the running child processes, their child processes, and so on."""
  with open(f"/proc/{process}/task/{process}/children") as file:
    children = file.read().split()
  for child in children:
    yield child
    yield from _descendants(child)


@dataclasses.dataclass(frozen=True)
class Ratio:
  """How the times of one variant compare with those of another.

  Attributes:
    median: Median of the ratios of all rounds.
    low: Lower end of a 95 % confidence interval of the median, for which fewer
      than 6 rounds are too few: `least` then.
    high: Upper end of this interval, or `greatest`.
    least: The least ratio of a round.
    greatest: The greatest ratio of a round.
    rounds: How many there were.
  """

  median: float
  low: float
  high: float
  least: float
  greatest: float
  rounds: int

  def cells(self) -> tuple[str, str, str]:
    """Returns cells for the columns RATIO_COLUMNS."""
    note = "" if self.rounds >= 6 else f" (all {self.rounds} rounds)"
    return (
      f"{self.median:.3f}",
      f"{self.low:.3f} to {self.high:.3f}{note}",
      f"{self.least:.3f} to {self.greatest:.3f}",
    )


RATIO_COLUMNS = ("ratio, median", "its 95 % interval", "least to greatest")


def compare(seconds: Sequence[float], reference: Sequence[float]) -> Ratio:
  """Returns the ratio of `seconds` to `reference`, taken round by round."""
  ratios = sorted(a / b for a, b in zip(seconds, reference, strict=True))
  rank = _rank_of_interval(len(ratios))
  return Ratio(
    median=statistics.median(ratios),
    low=ratios[rank],
    high=ratios[-1 - rank],
    least=ratios[0],
    greatest=ratios[-1],
    rounds=len(ratios),
  )


def _rank_of_interval(size):
  """Returns how many of `size` sorted values to leave out at either end.

  Each value is above the median with probability 1/2 whatever its distribution:
  the number of values above the median is binomial. Fewer than 6 values are too
  few for 95 %, and none is left out.
  """
  rank = 0
  tail = 0.5**size
  while True:
    tail += math.comb(size, rank + 1) * 0.5**size
    if tail > 0.025:
      return rank
    rank += 1


def compare_speeds(
  seconds: Mapping[str, Sequence[float]],
  unit: str,
  references: Sequence[str],
) -> list[tuple[str, ...]]:
  """Returns the rows of a table, its head first, with a row for each variant.

  Columns are the median speed, and for each reference the ratio of the speeds,
  taken round by round, with its 95 % interval.

  Args:
    seconds: For each variant the seconds of one unit, one a round.
    unit: What the speed counts, such as "images".
    references: Variants to compare with; those that were not measured are left
      out.
  """
  references = [name for name in references if name in seconds]
  head = ["", f"{unit}/s, median", "least to greatest"]
  for name in references:
    head += [f"times {name}", "95 % interval"]
  rows = [tuple(head)]
  for name, values in seconds.items():
    speeds = [1 / value for value in values]
    row = [
      name,
      f"{statistics.median(speeds):,.1f}",
      f"{min(speeds):,.1f} to {max(speeds):,.1f}",
    ]
    for reference in references:
      median, interval, _ = compare(seconds[reference], values).cells()
      row += [median, interval] if name != reference else ["", ""]
    rows.append(tuple(row))
  return rows


def describe_disturbance(
  records: Iterable[Mapping[str, Any]], rounds: int
) -> str:
  """Returns a sentence that says how quiet the machine was.

  Args:
    records: Each has `disturbed_rounds`, the `disturbed` of a Measurement.
    rounds: Rounds of each group.
  """
  counts = [n for r in records for n in r["disturbed_rounds"].values()]
  return (
    f"Other programs disturbed {sum(counts)} of {rounds * len(counts)} "
    "measurements."
  )
