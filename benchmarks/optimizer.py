"""What does Lookahead add to the step of an optimizer, and what to others'?

Times the step of Lookahead and the step of its inner optimizer alone in turn:
ours as a graph, by XLA and in a loop that XLA compiles and, with --peers, those
of other libraries around their own frameworks' optimizers. Then measures the
memory of ours. There is no model: gradients are given. Writes optimizer.md,
optimizer.json and optimizer.png to --results.

Each case is measured in a process of its own, so that none finds the memory as
another left it. The files are written anew after each case: what was measured
is kept, whatever becomes of the next.

python -m benchmarks.optimizer --peers
"""

import concurrent.futures
import itertools
import multiprocessing
import statistics

import tqdm
from absl import flags

from benchmarks import optimizer_cases
from benchmarks.harness import chart, interleaving
from benchmarks.harness.report import PATIENCE, ROUNDS, Report, run
from benchmarks.peers import client
from experiments.results import make_table

_MODELS = flags.DEFINE_multi_enum(
  "models",
  ["resnet50", "transformer_base"],
  list(optimizer_cases.SHAPES),
  "Models whose parameters are updated.",
)
_INNERS = flags.DEFINE_multi_enum(
  "inners",
  list(optimizer_cases.INNERS),
  list(optimizer_cases.INNERS),
  "Inner optimizers.",
)
_MODES = flags.DEFINE_multi_enum(
  "modes",
  list(optimizer_cases.MODES),
  list(optimizer_cases.MODES),
  "How ours is executed.",
)
_SYNC_PERIODS = flags.DEFINE_multi_integer(
  "sync_periods",
  [5, 10],
  "Steps in a period; memory is measured with the first one.",
  lower_bound=1,
)
_SLOW_MOMENTUM = flags.DEFINE_float(
  "slow_momentum",
  0.0,
  "Measure Lookahead with this momentum of the slow weights too; 0 for not.",
  lower_bound=0.0,
)
_MEMORY = flags.DEFINE_bool("memory", True, "Measure memory too.")


def _compared(record):
  """Yields (label, seconds of one variant, seconds of what it is beside)."""
  for label, seconds in record["seconds_per_step"].items():
    yield label, seconds["lookahead"], seconds["bare"]
    if "momentum" in seconds:
      yield (
        f"{label}: slow momentum beside none",
        seconds["momentum"],
        seconds["lookahead"],
      )


def _ratios(record):
  """Returns the Ratio of each variant of a record."""
  return {
    label: interleaving.compare(one, beside)
    for label, one, beside in _compared(record)
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
      *interleaving.RATIO_COLUMNS,
    )
  ]
  for case, record in records.items():
    start = (case.model, case.inner, str(case.sync_period))
    for label, one, beside in _compared(record):
      milliseconds = [
        f"{1000 * statistics.median(seconds):.2f}" for seconds in (beside, one)
      ]
      ratio = interleaving.compare(one, beside)
      rows.append((*start, label, *milliseconds, *ratio.cells()))
    for label, bound in case.bounds().items():
      rows.append((*start, f"({label})", "", "", f"{bound:.3f}", "", ""))
  rounds = ROUNDS.value
  disturbance = interleaving.describe_disturbance(records.values(), rounds)
  return (
    "Time of a step with Lookahead and without, and the ratio of the two. In "
    "parentheses: what memory traffic alone would cost.\n\n"
    f"{make_table(rows)}\n\n"
    f"{rounds} rounds of two periods each. {disturbance}\n"
  )


def _measure_memory(pool, model, inner, mode):
  """Returns a record of what Lookahead adds; takes four processes in turn."""

  def added(**arguments):
    lookahead, bare = (
      pool.submit(
        optimizer_cases.measure_memory, model, inner, mode, period, **arguments
      ).result()
      for period in (_SYNC_PERIODS.value[0], None)
    )
    return {key: lookahead[key] - bare[key] for key in bare}

  full = added()
  # With as many parameters of one element each, little else is left.
  code = added(one_element=True)["peak_bytes"]
  shapes = optimizer_cases.SHAPES[model]()
  return {
    "model": model,
    "inner": inner,
    "mode": mode,
    "sync_period": _SYNC_PERIODS.value[0],
    "parameter_bytes": 4 * optimizer_cases.count_parameters(shapes),
    "added_bytes": {
      "variables": full["state_bytes"],
      "peak": full["peak_bytes"],
      "code": code,
      "peak_without_code": full["peak_bytes"] - code,
    },
  }


def _memory_table(records):
  rows = [
    (
      "parameters",
      "inner",
      "execution",
      "variables",
      "peak",
      "graphs and code",
      "peak without these",
    )
  ]
  for record in records:
    unit = record["parameter_bytes"]
    rows.append(
      (
        f"{record['model']}, {unit / 1e6:.1f} MB",
        record["inner"],
        record["mode"],
        *(f"{value / unit:.3f}" for value in record["added_bytes"].values()),
      )
    )
  return (
    "\nMemory that Lookahead adds, in units of the parameters' bytes: the "
    "optimizer's variables, and the greatest resident memory during steps.\n\n"
    f"{make_table(rows)}\n"
  )


def _draw(records, path):
  panels = {}
  for case, record in records.items():
    names = (optimizer_cases.NAMES[key] for key in (case.model, case.inner))
    panels.setdefault(", ".join(names), []).append(
      chart.Group(f"k = {case.sync_period}", _ratios(record), case.bounds())
    )
  chart.draw_ratios(
    panels, path, "time of a step with Lookahead / without", 1.3
  )


def _write(report, records, memory):
  """Writes all files."""
  text = _time_table(records)
  text += client.describe_not_measured(records.values())
  if memory:
    text += _memory_table(memory)
  report.write(text, {"time": list(records.values()), "memory": memory})
  _draw(records, report.path(".png"))


def main() -> None:
  """Measures, writes and prints."""
  report = Report(
    "optimizer",
    "The step of an optimizer alone"
    + (", with slow momentum" if _SLOW_MOMENTUM.value else ""),
    ["lookahead-tf", "tensorflow", "keras"],
  )
  peers_python = client.find_interpreter()
  records, memory = {}, []
  with _process_for_each() as pool:
    for values in itertools.product(
      _MODELS.value, _INNERS.value, _SYNC_PERIODS.value
    ):
      case = optimizer_cases.Case(*values, _SLOW_MOMENTUM.value)
      record = pool.submit(
        optimizer_cases.measure_time,
        case,
        _MODES.value,
        ROUNDS.value,
        PATIENCE.value,
        peers_python,
      ).result()
      report.versions |= record.pop("peer_versions")
      records[case] = record
      _write(report, records, memory)
    if _MEMORY.value:
      combinations = [
        *itertools.product(_MODELS.value, _INNERS.value, _MODES.value)
      ]
      for values in tqdm.tqdm(combinations, "memory", leave=False):
        memory.append(_measure_memory(pool, *values))
      _write(report, records, memory)
  report.show()


def _process_for_each():
  """Returns an executor that runs each call in a new process."""
  return concurrent.futures.ProcessPoolExecutor(
    1,
    mp_context=multiprocessing.get_context("spawn"),
    max_tasks_per_child=1,
  )


if __name__ == "__main__":
  run(main)
