"""Checks what the main job wrote: check_demo.py WORKDIR."""

import json
import pathlib
import sys

workdir = pathlib.Path(sys.argv[1])
for name in ("digits_sgd", "digits_lookahead"):
  run = workdir / name / "learning_rate_0.1" / "seed_0"
  lines = [json.loads(s) for s in (run / "metrics.jsonl").open()]
  steps = [line["step"] for line in lines]
  assert steps == [22, 44, 66], steps
  assert lines[-1]["train/loss"] < lines[0]["train/loss"], lines
  assert 0.3 < lines[-1]["eval/accuracy"] <= 1, lines
  lookahead = json.loads((run / "config.json").read_text())["lookahead"]
  assert (lookahead is None) == name.endswith("sgd"), lookahead
  assert (run / "model.keras").stat().st_size > 10_000
  assert name in (workdir / "results.md").read_text()
assert (workdir / "curves.png").read_bytes().startswith(b"\x89PNG")
print(f"{workdir}: complete")
