#!/usr/bin/env bash
# keras 3.15.1 on tensorflow 2.21.0: the first step of ScheduleFreeAdamW replaces
# the initial weights of a model, silently, wherever the optimizer is built while a
# step is traced: in `fit` (not with run_eagerly=True) and in a tf.function.
#
# Its build assigns the weights to its momentum. Inside of a trace that assignment
# becomes an operation of the first trace. The optimizer's variables are created
# there, so TensorFlow throws that trace away and runs a second one, in which
# nothing builds. The momentum stays 0, and since the weights are recomputed from
# it, after one step each is plus or minus the learning rate. An
# `optimizer.build(model.trainable_variables)` before `fit` gives the right result.
#
# Seen on 2026-11-28 (CPU, Python 3.11):
#   compiled fit:         [0.1 0.1 0.1 0.1]
#   eager fit:            [ 0.134 -0.318  0.843 -0.762]
#   built before the fit: [ 0.134 -0.318  0.843 -0.762]
# Fails if compiled fit and eager fit agree.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=$(command -v python3.11 || command -v python3)
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -q tensorflow==2.21.0 keras==3.15.1
TF_CPP_MIN_LOG_LEVEL=3 "$work/venv/bin/python" - <<'PYTHON'
import keras
import numpy as np


def train(builds_first=False, run_eagerly=False):
  keras.utils.set_random_seed(0)
  model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
  optimizer = keras.optimizers.ScheduleFreeAdamW(learning_rate=0.1)
  if builds_first:
    optimizer.build(model.trainable_variables)
  model.compile(optimizer, loss="mse", run_eagerly=run_eagerly)
  x = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
  model.fit(x, x.sum(1, keepdims=True), batch_size=8, verbose=0)
  return model.get_weights()[0].ravel()


compiled, eager = train(), train(run_eagerly=True)
built = train(builds_first=True)
print("compiled fit:        ", compiled.round(3))
print("eager fit:           ", eager.round(3))
print("built before the fit:", built.round(3))
assert np.allclose(np.abs(compiled), 0.1, atol=1e-5), compiled
assert np.allclose(built, eager, atol=1e-5), (built, eager)
assert not np.allclose(compiled, eager, atol=1e-2)
PYTHON
