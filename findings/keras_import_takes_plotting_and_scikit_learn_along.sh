#!/usr/bin/env bash
# keras 3.15.1: `import keras` also imports scikit-learn and matplotlib's pyplot, and
# by them SciPy's statistics, where they are installed, and pandas with pyarrow. Nothing
# of them has to be used: the parts of Keras that can use them (wrappers, visualization,
# data adapters) import them as they are imported, not as they are called. An
# environment for analysis starts each program later than a bare one.
#
# Seen on 2026-11-29 (2 busy cores, Python 3.11, jax 0.10.2, median of 5 imports, in
# seconds of CPU time):
#   keras and jax alone:   1.62
#   with the five beside:  3.26
# Fails if one of them is not imported any more. Times are printed, not asserted.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=$(command -v python3.11 || command -v python3)
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -q keras==3.15.1 jax==0.10.2
export KERAS_BACKEND=jax

seconds() {  # The median CPU time of an import, the first of which compiles.
  for _ in 0 1 2 3 4 5; do
    "$work/venv/bin/python" -c \
      'import keras, time; print(round(time.process_time(), 2))'
  done | tail -n 5 | sort -n | sed -n 3p
}

echo "keras and jax alone:   $(seconds)"
"$work/venv/bin/pip" install -q scikit-learn==1.9.1 matplotlib==3.11.2 \
  pandas==3.1.1 pyarrow==26.0.1
echo "with the five beside:  $(seconds)"
"$work/venv/bin/python" - <<'PYTHON'
import sys

import keras  # noqa: F401

for name in ("sklearn", "matplotlib.pyplot", "scipy.stats", "pandas", "pyarrow"):
  assert name in sys.modules, f"{name} is not imported"
PYTHON
