#!/usr/bin/env bash
# keras 3.15.1 on tensorflow 2.21.0: where the size of a data set is unknown (a
# generator, a filter, records of files), `fit` counts an update of the optimizer at
# the end of each epoch that it does not make. The end is an error of the operation that
# takes the next batch, in the middle of a step whose other operations run already:
# `iterations += 1` needs no batch. A schedule of the learning rate falls too fast by
# one update an epoch, and so does all that counts `iterations`. The weights are right.
# With `jit_compile=True`, or where the size is known, the count is right.
#
# Seen on 2026-11-29 (CPU, Python 3.11), 3 epochs of 7 batches, SGD:
#   unknown size: 24 updates counted
#   known size: 21
#   unknown size, jit_compile=True: 21
# Fails if any of that changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=$(command -v python3.11 || command -v python3)
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -q tensorflow==2.21.0 keras==3.15.1
cat >"$work/program.py" <<'PYTHON'
import keras
import numpy as np
import tensorflow as tf

BATCHES, EPOCHS = 7, 3


def batches():
  for _ in range(BATCHES):
    yield np.ones((1, 2), "float32"), np.ones((1, 1), "float32")


unknown = tf.data.Dataset.from_generator(
  batches,
  output_signature=(tf.TensorSpec((1, 2)), tf.TensorSpec((1, 1))),
)
known = unknown.apply(tf.data.experimental.assert_cardinality(BATCHES))


def count(data, jit_compile=False):
  model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
  optimizer = keras.optimizers.SGD(0.01)
  model.compile(optimizer, "mse", jit_compile=jit_compile)
  model.fit(data, epochs=EPOCHS, verbose=0)
  return int(optimizer.iterations)


found = count(unknown), count(known), count(unknown, jit_compile=True)
print("unknown size:", found[0])
print("known size:", found[1])
print("unknown size, jit_compile=True:", found[2])
assert found == (24, 21, 21), found
PYTHON
TF_CPP_MIN_LOG_LEVEL=3 "$work/venv/bin/python" "$work/program.py"
