#!/usr/bin/env bash
# keras 3.8.0 and 3.9.2: under ModelParallel on JAX 0.5.3, `fit` trains to other weights
# than on one device, with plain SGD. DataParallel is right, and so is keras 3.10.0.
#
# The batch is cut into a part for each row of the mesh (dimension "batch"), and each
# device of a row (dimension "model") gets a copy of the part of its row.
# distribute_data_input of keras/src/backend/jax/distribution_lib.py hands the copies out
# by `zip(copies, layout.addressable_devices)`. That is a set, in another order than the
# mesh: devices of one row get different examples, which JAX takes for the same. With
# DataParallel each device has its own part, and the order of the parts is all the same.
#
# Seen on 2026-11-28 (8 devices of the CPU, Python 3.11; 12 steps of 8 examples; how far
# the weights are apart depends on the order of the set):
#   keras 3.8.0  DataParallel: as one device; ModelParallel: 0.271 apart
#   keras 3.9.2  DataParallel: as one device; ModelParallel: 0.208 apart
#   keras 3.10.0 DataParallel: as one device; ModelParallel: as one device
# Fails if any of these is otherwise.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=$(command -v python3.11 || command -v python3)
"$python" -m venv "$work/venv"
cat >"$work/train.py" <<'PYTHON'
import keras
import numpy as np

DEVICES = keras.distribution.list_devices()
rng = np.random.default_rng(0)
X = rng.normal(size=(96, 4)).astype("float32")
Y = np.tanh(X @ rng.normal(size=(4, 2))).astype("float32")


def model_parallel():
  mesh = keras.distribution.DeviceMesh((2, 4), ["batch", "model"], DEVICES)
  layouts = keras.distribution.LayoutMap(mesh)
  layouts[".*hidden/kernel"] = (None, "model")
  return keras.distribution.ModelParallel(
    layout_map=layouts, batch_dim_name="batch"
  )


def train(distribution):
  keras.distribution.set_distribution(distribution)
  keras.utils.set_random_seed(1)
  model = keras.Sequential(
    [
      keras.Input((4,)),
      keras.layers.Dense(8, "tanh", name="hidden"),
      keras.layers.Dense(2, name="out"),
    ]
  )
  model.compile(keras.optimizers.SGD(0.1), loss="mse")
  model.fit(X, Y, batch_size=8, shuffle=False, verbose=0)
  return [keras.ops.convert_to_numpy(v) for v in model.trainable_variables]


def compare(distribution):
  pairs = zip(train(distribution), one_device)
  apart = max(abs(a - b).max() for a, b in pairs)
  return "as one device" if apart < 1e-5 else f"{apart:.3f} apart"


one_device = train(None)
print(
  f"keras {keras.__version__:6} DataParallel:",
  compare(keras.distribution.DataParallel(devices=DEVICES)),
  end="; ModelParallel: ",
)
print(compare(model_parallel()))
PYTHON
for version in 3.8.0 3.9.2 3.10.0; do
  "$work/venv/bin/pip" install -q keras==$version jax==0.5.3
  KERAS_BACKEND=jax JAX_PLATFORMS=cpu \
    XLA_FLAGS=--xla_force_host_platform_device_count=8 \
    "$work/venv/bin/python" "$work/train.py" 2>/dev/null
done | tee "$work/seen"
[[ $(grep -c 'DataParallel: as one device; ' "$work/seen") == 3 ]]
[[ $(grep -cE '^keras 3\.[89].*ModelParallel: [0-9.]+ apart$' "$work/seen") == 2 ]]
[[ $(grep -c '^keras 3.10.*ModelParallel: as one device$' "$work/seen") == 1 ]]
