"""What does Lookahead add to the step of an optimizer, and what to others'?

Times the step of Lookahead and that of its inner optimizer alone in turn: ours
as a graph, by XLA and in a loop that XLA compiles and, with --peers_python,
those of other libraries around their own frameworks' optimizers. One
measurement is two periods, so that all synchronizations are in it. Writes
table.md, results.json and ratios.png.

Each case is measured in a process of its own, so that none finds the memory as
another left it. The files are written anew after each: they hold what has been
measured, whatever becomes of the next.

python -m benchmarks.optimizer_step --workdir=runs/optimizer_step \
    --peers_python=peers/bin/python  # See requirements-peers.txt.
"""

import concurrent.futures
import itertools
import multiprocessing
import os
import statistics

import tqdm
from absl import app, flags

from benchmarks import (
  added_memory,
  interleaved,
  keras_step,
  optimizer_case,
  parameter_shapes,
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
  settings = optimizer_case.Settings(
    _MODES.value, _ROUNDS.value, _PATIENCE.value, _PEERS_PYTHON.value
  )
  records, memory = {}, []
  with _process_for_each() as pool:
    for values in itertools.product(
      _MODELS.value, _INNERS.value, _SYNC_PERIODS.value
    ):
      case = optimizer_case.Case(*values)
      record = pool.submit(optimizer_case.measure, case, settings).result()
      run["versions"] |= record.pop("peer_versions")
      records[case] = record
      text = _write(run, records, memory)
  if _MEMORY.value:
    combinations = itertools.product(_MODELS.value, _INNERS.value, _MODES.value)
    for values in tqdm.tqdm(list(combinations), "memory", leave=False):
      memory.append(added_memory.measure(*values, _SYNC_PERIODS.value[0]))
    text = _write(run, records, memory)
  print(f"\n{text}\nWritten to {_WORKDIR.value}")


def _process_for_each():
  """Returns an executor that runs each call in a new process."""
  return concurrent.futures.ProcessPoolExecutor(
    1,
    mp_context=multiprocessing.get_context("spawn"),
    max_tasks_per_child=1,
  )


def _write(run, records, memory):
  """Writes all files; returns what table.md holds."""
  text = results.write(
    _WORKDIR.value,
    run,
    _describe(records, memory),
    {"time": list(records.values()), "memory": memory},
  )
  _draw(records, os.path.join(_WORKDIR.value, "ratios.png"))
  return text


def _describe(records, memory):
  """Returns the tables, in Markdown."""
  text = _time_table(records)
  reasons = {
    f"{label}: not measured: {reason}\n"
    for record in records.values()
    for label, reason in record["not_measured"].items()
  }
  text += "\n" * bool(reasons) + "".join(sorted(reasons))
  if memory:
    text += "\n" + added_memory.make_table(memory)
  return text


if __name__ == "__main__":
  flags.mark_flags_as_required(["workdir"])
  flags.register_validator(
    "peers_python",
    lambda path: path is None or os.access(path, os.X_OK),
    "There is no such interpreter.",
  )
  app.run(main)
