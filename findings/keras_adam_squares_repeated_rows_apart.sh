#!/usr/bin/env bash
# keras 3.15.1 on tensorflow 2.21.0: around an Embedding, Adam depends on whether a
# token that is several times in a batch comes as several slices of one gradient
# (tf.IndexedSlices, which TensorFlow makes of a lookup) or as their sum.
#
# Its update adds the square of the gradient to the second moment. The square of
# tf.IndexedSlices is that of each slice, and then the slices of a row are added
# up: a token that is four times in a batch with equal gradients adds 4 g^2 where
# (4 g)^2 = 16 g^2 is right. Its steps are longer than they should be. RMSprop and
# others that square gradients by the same function were not tried.
#
# Seen on 2026-11-28 (CPU, Python 3.11), the weight after ten steps:
#   slices: [-0.407]
#   sum:    [0.076]
# Fails if they agree.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=$(command -v python3.11 || command -v python3)
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -q tensorflow==2.21.0 keras==3.15.1
TF_CPP_MIN_LOG_LEVEL=3 "$work/venv/bin/python" - <<'PYTHON'
import keras
import numpy as np
import tensorflow as tf


def train(change):
  layer = keras.layers.Embedding(2, 1, embeddings_initializer="ones")
  layer.build()
  adam = keras.optimizers.Adam(0.1)
  for _ in range(10):
    with tf.GradientTape() as tape:
      loss = tf.reduce_sum(layer(tf.constant([0, 0, 0, 0])) ** 2)
    (gradient,) = tape.gradient(loss, layer.trainable_variables)
    assert isinstance(gradient, tf.IndexedSlices)
    adam.apply([change(gradient)], layer.trainable_variables)
  return layer.embeddings.numpy()[0]


slices, total = train(lambda gradient: gradient), train(tf.convert_to_tensor)
print("slices:", slices.round(3))
print("sum:   ", total.round(3))
assert not np.allclose(slices, total, atol=1e-2)
PYTHON
