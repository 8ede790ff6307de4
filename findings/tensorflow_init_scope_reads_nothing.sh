#!/usr/bin/env bash
# tensorflow 2.21.0: while a tf.function is traced that creates a variable, reading
# that variable in tf.init_scope gives a tensor of shape (0,), whatever the shape of
# the variable is, and no error. The variable gets its value when the tracing ends.
#
# Whoever copies a variable in tf.init_scope, as wrappers of optimizers do, copies
# nothing. It is what a keras.Sequential without Input meets in its first training
# step (keras 3.8 to 3.15.1). Nor can the copy be made in the second trace, which
# TensorFlow makes at once and in which the value is there: tf.init_scope does not
# lift the ban on new variables in it. Another thread does.
#
# Seen on 2026-11-28 (CPU, Python 3.11):
#   trace 1: initialized False, shape read (0,)
#   trace 2: initialized True, shape read (2, 3); new variable: ValueError
#   trace 2: new variable in another thread: fine
# Fails if any of that changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=$(command -v python3.11 || command -v python3)
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -q tensorflow==2.21.0
TF_CPP_MIN_LOG_LEVEL=3 "$work/venv/bin/python" - <<'PYTHON'
import threading

import tensorflow as tf

created, copies, seen = [], [], []


def copy():
  copies.append(tf.Variable(created[0].read_value()))


@tf.function
def step():
  if not created:
    created.append(tf.Variable(lambda: tf.ones((2, 3))))
  with tf.init_scope():
    is_initialized = bool(
      tf.compat.v1.is_variable_initialized(created[0]).numpy()
    )
    shape = tuple(created[0].read_value().shape)
    error = None
    if is_initialized:
      try:
        copy()
      except ValueError as raised:
        error = type(raised).__name__
      thread = threading.Thread(target=copy)
      thread.start()
      thread.join()
  seen.append((is_initialized, shape, error))
  return created[0] + 1.0


step()
for number, (is_initialized, shape, error) in enumerate(seen, 1):
  print(f"trace {number}: initialized {is_initialized}, read {shape}, {error}")
print("copies made in another thread:", [c.shape for c in copies])
assert seen == [(False, (0,), None), (True, (2, 3), "ValueError")], seen
assert len(copies) == 1 and copies[0].shape == (2, 3), copies
PYTHON
