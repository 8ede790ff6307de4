"""Times variants in turn, and compares them round by round.

The speed of a machine drifts with its temperature and with whatever else runs.
Variants that take turns meet the same drift, and the ratio of neighbours is
free of most of it. Of many rounds the median is free of single interruptions.
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

  A group during which other programs were busy is measured again, once they are
  quiet: threads that wait for one another suffer from others' out of
  proportion, and not alike in each library.

  Args:
    groups: Variants to be compared with one another: functions that do some
      work and return its time in seconds. They may let child processes work.
    rounds: Number of rounds. Every second one is in reverse order, so that
      none always comes first.
    description: Of the progress bar.
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
  """Returns the CPU time that others than this program used until now."""
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
  """Yields the running child processes, theirs, and so on."""
  with open(f"/proc/{process}/task/{process}/children") as file:
    children = file.read().split()
  for child in children:
    yield child
    yield from _descendants(child)


@dataclasses.dataclass(frozen=True)
class Ratio:
  """How the times of one variant compare with those of another.

  Attributes:
    median: Of the ratios of each round.
    low: Lower end of a 95 % confidence interval of the median.
    high: Upper end of it.
    least: The least ratio of a round.
    greatest: The greatest ratio of a round.
  """

  median: float
  low: float
  high: float
  least: float
  greatest: float

  def cells(self) -> tuple[str, str, str]:
    """Returns cells for the columns RATIO_COLUMNS."""
    return (
      f"{self.median:.3f}",
      f"{self.low:.3f} to {self.high:.3f}",
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
  )


def _rank_of_interval(size):
  """Returns how many of `size` sorted values to leave out at either end.

  Each value is above the median with probability 1/2 whatever its distribution:
  the number of those above is binomial. With fewer than 6 values all of them
  are too few for 95 %, and none is left out.
  """
  rank = 0
  tail = 0.5**size
  while True:
    tail += math.comb(size, rank + 1) * 0.5**size
    if tail > 0.025:
      return rank
    rank += 1


def describe_disturbance(
  records: Iterable[Mapping[str, Any]], rounds: int
) -> str:
  """Returns a sentence on how quiet the machine was.

  Args:
    records: Each with `disturbed_rounds`, a Measurement's `disturbed`.
    rounds: Of each group.
  """
  counts = [n for r in records for n in r["disturbed_rounds"].values()]
  return (
    f"Other programs disturbed {sum(counts)} of {rounds * len(counts)} "
    "measurements."
  )
