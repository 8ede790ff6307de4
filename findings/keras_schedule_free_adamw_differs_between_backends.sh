#!/usr/bin/env bash
# keras 3.15.1: ScheduleFreeAdamW makes other steps on TensorFlow 2.21.0 and PyTorch
# 2.13.0 than on JAX 0.10.2, from the first step on. With the same gradients the
# weights are .013 apart after three steps with a learning rate of .1.
#
# Its update_step keeps `momentum.value`, then changes `momentum`, and then computes
# the old average of the weights with what it kept. On JAX that is an array, which
# does not change: the old momentum, as the comment beside it says. On TensorFlow and
# PyTorch `value` is the variable's own memory, so what was kept is the new momentum.
# On PyTorch `stateless_apply` assigns no memory and gives JAX' numbers, so that one
# optimizer makes two kinds of steps there.
#
# Seen on 2026-11-28 (CPU, Python 3.11):
#   tensorflow apply           [ 0.7694 -2.2306  3.2306]
#   jax        apply           [ 0.7559 -2.2441  3.2441]
#   jax        stateless_apply [ 0.7559 -2.2441  3.2441]
#   torch      apply           [ 0.7694 -2.2306  3.2306]
#   torch      stateless_apply [ 0.7559 -2.2441  3.2441]
# Fails if TensorFlow or PyTorch agree with JAX, or PyTorch with itself.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=$(command -v python3.11 || command -v python3)
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -q keras==3.15.1 tensorflow==2.21.0 jax==0.10.2 \
  torch==2.13.0
cat >"$work/steps.py" <<'PYTHON'
import keras
import numpy as np
from keras import ops


def train(stateless):
  variable = keras.Variable([1.0, -2.0, 3.0])
  optimizer = keras.optimizers.ScheduleFreeAdamW(learning_rate=0.1)
  optimizer.build([variable])
  values = [variable.value]
  state = [v.value for v in optimizer.variables]
  for step in range(1, 4):
    gradient = ops.convert_to_tensor(np.array([0.5, 1, -1], "float32") * step)
    if stateless:
      values, state = optimizer.stateless_apply(state, [gradient], values)
    else:
      optimizer.apply([gradient], [variable])
  return ops.convert_to_numpy(values[0] if stateless else variable.value)


backend = keras.backend.backend()
print(f"{backend:10} apply          ", train(False).round(4))
if backend != "tensorflow":  # Keras has no stateless_apply there.
  print(f"{backend:10} stateless_apply", train(True).round(4))
PYTHON
for backend in tensorflow jax torch; do
  KERAS_BACKEND=$backend TF_CPP_MIN_LOG_LEVEL=3 \
    "$work/venv/bin/python" "$work/steps.py" 2>/dev/null
done | tee "$work/seen"
[[ $(grep -c '\[ 0.7694 -2.2306  3.2306\]' "$work/seen") == 2 ]]
[[ $(grep -c '\[ 0.7559 -2.2441  3.2441\]' "$work/seen") == 3 ]]
