"""Runs at several learning rates and with several seeds: kept and compared."""

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from trainers import files, workdir

_RUNS = "runs"


class Runs:
  """The runs of a work directory that are over, in a file.

  Args:
    directory: The work directory.
    kind: What becomes of a run: a NamedTuple of floats, with `loss` and
      `accuracy`, which are NaN if the training diverged.

  Raises:
    UserError: if the file cannot be read.
  """

  def __init__(self, directory: str, kind: Callable[..., Any]):
    self._path = os.path.join(directory, f"{_RUNS}.json")
    self._kind = kind
    self._found = workdir.read(directory, _RUNS) or {}

  def get(self, name: str, train: Callable[[], Any]) -> Any:
    """Returns what became of a run, which `train` makes if it is not there.

    Raises:
      UserError: if the file cannot be written.
    """
    if name not in self._found:
      self._found[name] = [*train()]
      with files.writing(self._path):
        files.write_whole(self._path, json.dumps(self._found, indent=1))
    return self._kind(*self._found[name])


def mean_accuracy(runs: Sequence[Any]) -> float:
  """Returns the mean accuracy of runs; a run that diverged counts as 0."""
  return float(np.mean(np.nan_to_num([one.accuracy for one in runs])))


def best_rate(by_rate: Mapping[float, Sequence[Any]]) -> float:
  """Returns the learning rate with the greatest mean accuracy.

  Args:
    by_rate: The runs of each seed.
  """
  return max(by_rate, key=lambda rate: mean_accuracy(by_rate[rate]))


def difference(
  by_rate: Mapping[float, Sequence[Any]], others: Mapping[float, Sequence[Any]]
) -> str:
  """Returns how far accuracies are ahead of others, each at its best rate.

  Args:
    by_rate: The runs of each seed.
    others: Likewise, with the same seeds.

  Returns:
    The mean over the seeds, and its standard error if there are several.
  """
  pairs = zip(
    by_rate[best_rate(by_rate)], others[best_rate(others)], strict=True
  )
  ahead = np.array([one.accuracy - other.accuracy for one, other in pairs])
  if not np.isfinite(ahead).all():
    return "diverged"
  text = f"{ahead.mean():+.2f}"
  if len(ahead) > 1:
    text += f" ± {ahead.std(ddof=1) / math.sqrt(len(ahead)):.2f}"
  return text
