#!/usr/bin/env bash
# tensorflow-cpu 2.21.0: batch normalization in bfloat16 (FusedBatchNormV3) takes several
# times as long as in float32, unless 16 divides the number of channels. oneDNN
# computes it by its compiled kernel where 16 does, and by a general one otherwise. In
# float32 the general kernel is not as slow. So a network in mixed_bfloat16 can be
# slower with 24 channels than with 48. PyTorch 2.13.0 does not ask oneDNN for it.
#
# Seen on 2026-11-29 (2 cores of an Intel Xeon with AMX, batch 256, 15 x 15 pixels,
# forward and backward, milliseconds, median of 8):
#   24 channels, float32: 7    bfloat16: 54, nspc_bnorm:any
#   48 channels, float32: 11   bfloat16: 11, bnorm_tbb_jit:avx512_core_bf16
#   100 channels, float32: 21  bfloat16: 97, nspc_bnorm:any
# Fails if oneDNN takes other kernels. Times are printed, not asserted. Needs a CPU
# with avx512_bf16; says so and ends elsewhere.
set -euo pipefail
if ! grep -q avx512_bf16 /proc/cpuinfo; then
  echo "this CPU has no avx512_bf16"
  exit
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=$(command -v python3.11 || command -v python3)
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -q tensorflow-cpu==2.21.0 keras==3.15.1 numpy==2.4.6
cat >"$work/measure.py" <<'PYTHON'
import statistics
import sys
import time

import tensorflow as tf

channels, dtype = int(sys.argv[1]), sys.argv[2]
x = tf.cast(tf.random.normal((256, 15, 15, channels)), dtype)


@tf.function
def both(x):
  with tf.GradientTape() as tape:
    tape.watch(x)
    y = tf.raw_ops.FusedBatchNormV3(
      x=x,
      scale=tf.ones(channels),
      offset=tf.zeros(channels),
      mean=tf.zeros(0),
      variance=tf.zeros(0),
    ).y
  return tape.gradient(y, x, output_gradients=x)


seconds = []
for _ in range(10):
  started = time.perf_counter()
  both(x)[0, 0, 0, 0].numpy()
  seconds.append(time.perf_counter() - started)
print(f"{1000 * statistics.median(seconds[2:]):.0f} ms")
PYTHON

kernels() {  # The kernels that oneDNN says it takes.
  ONEDNN_VERBOSE=1 "$work/venv/bin/python" "$work/measure.py" "$1" bfloat16 \
    2>"$work/log" | grep -o 'batch_normalization,[^,]*' | sort -u
}

for channels in 24 48 100; do
  for dtype in float32 bfloat16; do
    echo "$channels channels, $dtype:" \
      "$("$work/venv/bin/python" "$work/measure.py" "$channels" "$dtype" 2>"$work/log")"
  done
done
test "$(kernels 24)" = batch_normalization,nspc_bnorm:any
test "$(kernels 100)" = batch_normalization,nspc_bnorm:any
case "$(kernels 48)" in
  batch_normalization,bnorm_tbb_jit:avx512_core*) ;;
  *) exit 1 ;;
esac
echo "the kernels are as seen"
