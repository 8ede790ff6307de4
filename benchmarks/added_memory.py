"""What Lookahead adds to the memory of an optimizer's steps.

Each number comes from processes of its own, `optimizer_memory`.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import parameter_shapes, results


def measure(
  model: str, inner: str, mode: str, sync_period: int
) -> dict[str, Any]:
  """Returns what Lookahead adds; takes four processes, one after another.

  Args:
    model: A key of parameter_shapes.MODELS.
    inner: A key of keras_step.INNERS.
    mode: "graph" or "xla".
    sync_period: Steps in a period.

  Returns:
    The arguments; `parameter_bytes`; and `added_bytes`: of the optimizer's
    variables, of the peak of resident memory, the part of it that is graphs
    and compiled code, and the rest of it.
  """

  def run(*arguments):
    program = [sys.executable, "-m", "benchmarks.optimizer_memory"]
    variant = [f"--model={model}", f"--inner={inner}", f"--mode={mode}"]
    process = subprocess.run(
      [*program, *variant, *arguments],
      stdout=subprocess.PIPE,
      check=True,
      text=True,
    )
    return json.loads(process.stdout.splitlines()[-1])

  def added(*arguments):
    lookahead = run(f"--sync_period={sync_period}", *arguments)
    bare = run(*arguments)
    return {key: lookahead[key] - bare[key] for key in bare}

  full = added()
  # With as many parameters of one element each, little else is left.
  code = added("--one_element")["peak_bytes"]
  return {
    "model": model,
    "inner": inner,
    "mode": mode,
    "sync_period": sync_period,
    "parameter_bytes": 4
    * parameter_shapes.count(parameter_shapes.MODELS[model]()),
    "added_bytes": {
      "variables": full["state_bytes"],
      "peak": full["peak_bytes"],
      "code": code,
      "peak_without_code": full["peak_bytes"] - code,
    },
  }


def make_table(records: Sequence[Mapping[str, Any]]) -> str:
  """Returns a Markdown table of what `measure` returned, with a line above."""
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
    "Memory that Lookahead adds, in units of the parameters' bytes: the "
    "optimizer's variables, and the greatest resident memory during steps.\n\n"
    + results.make_table(rows)
  )
