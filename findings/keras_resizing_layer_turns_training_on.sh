#!/usr/bin/env bash
# keras 3.15.1: in a plain call of a model, model(images), the layers behind a
# Resizing layer (or CenterCrop, or another one of images) are in training mode.
# Batch normalization then takes the batch's statistics, and moves those that it
# keeps, and dropout drops. predict() and model(images, training=False) are right.
#
# The layer's `call` has the default training=True, and a layer that is called
# without the argument hands its default to those that are called after it.
# keras.ops.image.resize in its place has no such default.
#
# Seen on 2026-11-28 (CPU, Python 3.11):
#   predict 0.0, called with training=False 0.0, called -1.0
# Fails if any of that changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=$(command -v python3.11 || command -v python3)
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -q tensorflow==2.21.0 keras==3.15.1
TF_CPP_MIN_LOG_LEVEL=3 "$work/venv/bin/python" - <<'PYTHON'
import keras
import numpy as np

inputs = keras.Input((None, None, 1))
x = keras.layers.Resizing(2, 2)(inputs)
x = keras.layers.BatchNormalization()(x)
model = keras.Model(inputs, x)
images = np.float32([[[[0]] * 2] * 2, [[[2]] * 2] * 2])  # Means of 0 and 2.
predicted = float(model.predict(images, verbose=0)[0, 0, 0, 0])
inferred = float(model(images, training=False)[0, 0, 0, 0])
called = float(model(images)[0, 0, 0, 0])
print(
  f"predict {predicted:.1f}, called with training=False {inferred:.1f}, "
  f"called {called:.1f}"
)
assert abs(predicted) < 1e-3 and abs(inferred) < 1e-3, (predicted, inferred)
assert abs(called + 1) < 1e-2, called
PYTHON
