"""What does Lookahead add to the step of an optimizer, and what to others'?

Times the step of Lookahead and that of its inner optimizer alone in turn: ours
as a graph and by XLA and, with --peers_python, those of other libraries around
their own frameworks' optimizers. One measurement is two periods, so that all
synchronizations are in it. Writes table.md, results.json and ratios.png.

python -m benchmarks.optimizer_step --workdir=runs/optimizer_step \
    --peers_python=peers/bin/python  # See requirements-peers.txt.
"""

import contextlib
import dataclasses
import functools
import gc
import itertools
import os
import statistics

import tqdm
from absl import app, flags

from benchmarks import (
  added_memory,
  interleaved,
  keras_step,
  memory_traffic,
  parameter_shapes,
  peers,
  ratio_chart,
  results,
)

_WORKDIR = flags.DEFINE_string("workdir", None, "Where to write the results.")
_PEERS_PYTHON = flags.DEFINE_string(
  "peers_python", None, "Interpreter with the other libraries; none without."
)
_ROUNDS = flags.DEFINE_integer("rounds", 20, "Of each.", lower_bound=1)
_PATIENCE = flags.DEFINE_float(
  "patience", 300.0, "Seconds that each case may wait for a quiet machine."
)
_MODELS = flags.DEFINE_multi_enum(
  "models",
  ["resnet50", "transformer_base"],
  list(parameter_shapes.MODELS),
  "Whose parameters.",
)
_INNERS = flags.DEFINE_multi_enum(
  "inners",
  list(keras_step.INNERS),
  list(keras_step.INNERS),
  "Inner optimizers.",
)
_MODES = flags.DEFINE_multi_enum(
  "modes", list(keras_step.MODES), keras_step.MODES, "Execution, of ours."
)
_SYNC_PERIODS = flags.DEFINE_multi_integer(
  "sync_periods", [5, 10], "Steps in a period.", lower_bound=1
)
_MEMORY = flags.DEFINE_bool("memory", True, "Measure memory too.")

_OURS = {"graph": "lookahead_tf, graph", "xla": "lookahead_tf, XLA"}


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


def _time_case(case):
  """Returns a record of the case for results.json."""
  shapes = parameter_shapes.MODELS[case.model]()
  title = f"{case.model} {case.inner} k={case.sync_period}"
  versions, not_measured = {}, {}
  with contextlib.ExitStack() as stack:
    groups = _own_groups(case, shapes, title)
    for name, label in _tqdm(_peers(), f"{title}: peers"):
      try:
        peer = stack.enter_context(
          peers.Peer(
            _PEERS_PYTHON.value,
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
      groups, _ROUNDS.value, title, _PATIENCE.value
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


def _own_groups(case, shapes, title):
  """Returns functions that measure the seconds of a step, for each mode."""
  gradients = keras_step.make_gradients(shapes)
  steps = 2 * case.sync_period
  groups = {}
  for mode in _tqdm(_MODES.value, f"{title}: ours"):
    group = {}
    for which, period in (("bare", None), ("lookahead", case.sync_period)):
      step = keras_step.KerasStep(gradients, case.inner, mode, period)
      step.run(2 * steps)  # Compiles, and touches all memory.
      group[which] = functools.partial(step.run, steps)
    groups[_OURS[mode]] = group
  return groups


def _peers():
  return list(peers.NAMES.items()) if _PEERS_PYTHON.value else []


def _tqdm(items, description):
  return tqdm.tqdm(items, desc=description, leave=False)


def _ratios(record):
  """Returns the Ratio of each variant of a record."""
  return {
    label: interleaved.compare(seconds["lookahead"], seconds["bare"])
    for label, seconds in record["seconds_per_step"].items()
  }


def _time_table(records):
  rows = [
    (
      "parameters",
      "inner",
      "k",
      "Lookahead",
      "ms without",
      "ms with",
      *interleaved.RATIO_COLUMNS,
    )
  ]
  for case, record in records.items():
    start = (case.model, case.inner, str(case.sync_period))
    for label, ratio in _ratios(record).items():
      seconds = record["seconds_per_step"][label]
      milliseconds = [
        f"{1000 * statistics.median(seconds[which]):.2f}"
        for which in ("bare", "lookahead")
      ]
      rows.append((*start, label, *milliseconds, *ratio.cells()))
    for label, bound in case.bounds().items():
      rows.append((*start, f"({label})", "", "", f"{bound:.3f}", "", ""))
  disturbance = interleaved.describe_disturbance(
    records.values(), _ROUNDS.value
  )
  return (
    f"{results.make_table(rows)}\nOne step, in {_ROUNDS.value} rounds of two "
    f"periods each. {disturbance}\n"
  )


def _draw(records, path):
  panels = {}
  for case, record in records.items():
    panels.setdefault(f"{case.model}, {case.inner}", []).append(
      ratio_chart.Group(
        f"k = {case.sync_period}", _ratios(record), case.bounds()
      )
    )
  ratio_chart.draw(panels, path, "step with Lookahead / without", least_top=1.3)


def main(arguments: list[str]) -> None:
  """Measures, prints and draws."""
  if len(arguments) > 1:
    raise app.UsageError(f"Unknown arguments: {arguments[1:]}")
  run = results.describe_run(
    "benchmarks.optimizer_step", ["lookahead-tf", "tensorflow", "keras"]
  )
  records = {}
  for values in itertools.product(
    _MODELS.value, _INNERS.value, _SYNC_PERIODS.value
  ):
    case = Case(*values)
    records[case] = _time_case(case)
    run["versions"] |= records[case].pop("peer_versions")
    gc.collect()  # Parameters and compiled functions refer to each other.
  text = _time_table(records)
  reasons = {
    f"{label}: not measured: {reason}\n"
    for record in records.values()
    for label, reason in record["not_measured"].items()
  }
  text += "\n" * bool(reasons) + "".join(sorted(reasons))
  memory = []
  if _MEMORY.value:
    combinations = itertools.product(_MODELS.value, _INNERS.value, _MODES.value)
    memory = [
      added_memory.measure(*values, _SYNC_PERIODS.value[0])
      for values in _tqdm(list(combinations), "memory")
    ]
    text += "\n" + added_memory.make_table(memory)
  results.write(
    _WORKDIR.value,
    run,
    text,
    {"time": list(records.values()), "memory": memory},
  )
  picture = os.path.join(_WORKDIR.value, "ratios.png")
  _draw(records, picture)
  print(f"Picture: {picture}")


if __name__ == "__main__":
  flags.mark_flags_as_required(["workdir"])
  flags.register_validator(
    "peers_python",
    lambda path: path is None or os.access(path, os.X_OK),
    "There is no such interpreter.",
  )
  app.run(main)
