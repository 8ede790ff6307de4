#!/usr/bin/env bash
# oneDNN on a CPU with AMX, in tensorflow-cpu 2.21.0 and torch 2.13.0: the gradient of
# the kernel of a wide 3x3 convolution in bfloat16 takes a multiple of the time of nine
# products of matrices that give the same numbers, pads and slices included: one product
# for each place of the kernel, of the pixels that meet it and of the output's gradient.
# The fewer pixels a feature map has, the greater the multiple. In float32 TensorFlow took
# 40 and 30 ms, measured apart. The products are oneDNN's too.
#
# Seen on 2026-11-29 (2 cores of an Intel Xeon with AMX, milliseconds, median of 8):
#   64 images, 4 x 4 pixels, 512 channels to 512, bfloat16:
#   TensorFlow: gradient 89.0, products 15.6
#   PyTorch:    gradient 75.7, products 15.7
# Fails if the gradient takes less than 1.5 times as long as the products, in either
# library. Needs a CPU with amx_bf16; says so and ends elsewhere.
set -euo pipefail
if ! grep -q amx_bf16 /proc/cpuinfo; then
  echo "this CPU has no amx_bf16"
  exit
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=$(command -v python3.11 || command -v python3)
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -q tensorflow-cpu==2.21.0 torch==2.13.0 numpy==2.4.6
cat >"$work/common.py" <<'PYTHON'
import statistics
import time

BATCH, PIXELS, CHANNELS = 64, 4, 512


def milliseconds(compute):
  taken = []
  for _ in range(11):
    started = time.perf_counter()
    compute()
    taken.append(time.perf_counter() - started)
  return 1000 * statistics.median(taken[3:])


def report(library, gradient, products):
  print(f"{library}: gradient {gradient:.1f} ms, products {products:.1f} ms")
  assert gradient > 1.5 * products
PYTHON
cat >"$work/with_tensorflow.py" <<'PYTHON'
import common
import numpy as np
import tensorflow as tf

shape = (common.BATCH, common.PIXELS, common.PIXELS, common.CHANNELS)
x = tf.cast(tf.random.normal(shape), tf.bfloat16)
upstream = tf.cast(tf.random.normal(shape), tf.bfloat16)
kernel_shape = [3, 3, common.CHANNELS, common.CHANNELS]


@tf.function
def gradient():
  return tf.raw_ops.Conv2DBackpropFilter(
    input=x,
    filter_sizes=kernel_shape,
    out_backprop=upstream,
    strides=[1, 1, 1, 1],
    padding="SAME",
  )


@tf.function
def products():
  padded = tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]])
  of_output = tf.reshape(upstream, [-1, common.CHANNELS])
  n = common.PIXELS
  places = [padded[:, i : i + n, j : j + n] for i in range(3) for j in range(3)]
  rows = [tf.reshape(place, [-1, common.CHANNELS]) for place in places]
  matrices = [tf.matmul(row, of_output, transpose_a=True) for row in rows]
  return tf.reshape(tf.stack(matrices), kernel_shape)


a, b = (np.array(tf.cast(f(), tf.float32)) for f in (gradient, products))
assert np.abs(a - b).max() < 0.02 * np.abs(a).max()
common.report(
  "TensorFlow",
  common.milliseconds(lambda: gradient()[0, 0, 0, 0].numpy()),
  common.milliseconds(lambda: products()[0, 0, 0, 0].numpy()),
)
PYTHON
cat >"$work/with_torch.py" <<'PYTHON'
import common
import torch

shape = (common.BATCH, common.CHANNELS, common.PIXELS, common.PIXELS)
last = torch.channels_last
x = torch.randn(shape).bfloat16().to(memory_format=last)
upstream = torch.randn(shape).bfloat16().to(memory_format=last)
kernel_shape = (common.CHANNELS, common.CHANNELS, 3, 3)


def gradient():
  return torch.nn.grad.conv2d_weight(x, kernel_shape, upstream, padding=1)


def products():
  padded = torch.nn.functional.pad(x, (1, 1, 1, 1)).permute(0, 2, 3, 1)
  of_output = upstream.permute(0, 2, 3, 1).reshape(-1, common.CHANNELS)
  n = common.PIXELS
  matrices = [
    of_output.T @ padded[:, i : i + n, j : j + n].reshape(-1, common.CHANNELS)
    for i in range(3)
    for j in range(3)
  ]
  return torch.stack(matrices, -1).reshape(kernel_shape)


a, b = gradient().float(), products().float()
assert (a - b).abs().max() < 0.02 * a.abs().max()
common.report(
  "PyTorch", common.milliseconds(gradient), common.milliseconds(products)
)
PYTHON
export TF_CPP_MIN_LOG_LEVEL=3
"$work/venv/bin/python" "$work/with_tensorflow.py" 2>"$work/log"
"$work/venv/bin/python" "$work/with_torch.py"
