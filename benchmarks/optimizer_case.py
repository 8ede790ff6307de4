"""What `optimizer_step` measures together: the variants of one case."""

import contextlib
import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import tqdm

from benchmarks import (
  interleaved,
  keras_step,
  memory_traffic,
  parameter_shapes,
  peers,
)

_OURS = {
  "graph": "lookahead_tf, graph",
  "xla": "lookahead_tf, XLA",
  "xla_loop": "lookahead_tf, loop by XLA",
}


@dataclasses.dataclass(frozen=True)
class Case:
  """What the variants that are measured together have in common.

  Attributes:
    model: Name of the parameters' shapes.
    inner: Name of the inner optimizer.
    sync_period: Steps in a period.
  """

  model: str
  inner: str
  sync_period: int

  def bounds(self) -> dict[str, float]:
    """Returns the bounds of the ratio, by name."""
    return {
      f"memory traffic, {way}": memory_traffic.bound(
        self.inner, self.sync_period, way
      )
      for way in memory_traffic.SYNCHRONIZATION
    }


@dataclasses.dataclass(frozen=True)
class Settings:
  """How to measure a case.

  Attributes:
    modes: Execution of ours, keys of keras_step.MODES.
    rounds: Of each variant.
    patience: Seconds that the case may wait for a quiet machine.
    peers_python: Interpreter with the other libraries, or None for none.
  """

  modes: Sequence[str]
  rounds: int
  patience: float
  peers_python: str | None


def measure(case: Case, settings: Settings) -> dict[str, Any]:
  """Returns a record of the case for results.json, JSON-like."""
  shapes = parameter_shapes.MODELS[case.model]()
  title = f"{case.model} {case.inner} k={case.sync_period}"
  versions, not_measured = {}, {}
  with contextlib.ExitStack() as stack:
    groups = _own_groups(case, shapes, title, settings.modes)
    names = peers.NAMES if settings.peers_python else {}
    for name, label in _tqdm(names.items(), f"{title}: peers"):
      try:
        peer = stack.enter_context(
          peers.Peer(
            settings.peers_python,
            name,
            warmup_steps=4 * case.sync_period,
            shapes=shapes,
            inner=case.inner,
            sync_period=case.sync_period,
          )
        )
      except peers.NotMeasured as error:
        not_measured[label] = str(error)
        continue
      versions |= peer.versions
      groups[label] = {
        which: functools.partial(peer.run, which, 2 * case.sync_period)
        for which in ("bare", "lookahead")
      }
    measurement = interleaved.measure(
      groups, settings.rounds, title, settings.patience
    )
  return {
    **dataclasses.asdict(case),
    "parameters": parameter_shapes.count(shapes),
    "tensors": len(shapes),
    "seconds_per_step": measurement.seconds,
    "disturbed_rounds": measurement.disturbed,
    "not_measured": not_measured,
    "peer_versions": versions,
  }


def _own_groups(case, shapes, title, modes):
  """Returns functions that measure the seconds of a step, for each mode."""
  gradients = keras_step.make_gradients(shapes)
  steps = 2 * case.sync_period
  groups = {}
  for mode in _tqdm(modes, f"{title}: ours"):
    group = {}
    for which, period in (("bare", None), ("lookahead", case.sync_period)):
      step = keras_step.KerasStep(gradients, case.inner, mode, period)
      step.run(2 * steps)  # Compiles, and touches all memory.
      group[which] = functools.partial(step.run, steps)
    groups[_OURS[mode]] = group
  return groups


def _tqdm(items, description):
  return tqdm.tqdm(list(items), desc=description, leave=False)
