#!/usr/bin/env bash
# keras 3.15.1 on jax 0.10.2, on a CPU: with an optimizer that has slots of the shape and
# dtype of the weights, such as SGD with momentum, `jax.jit(optimizer.stateless_apply,
# donate_argnums=(0, 2))` copies each weight and each slot in every step, although all their
# buffers are donated. JAX matches donated arguments, in order, with results of the same
# shape and dtype, in order. `stateless_apply` takes (optimizer variables, gradients,
# weights) and returns (weights, optimizer variables). So the buffer of the old momentum is
# given to the new weight, and that of the old weight to the new momentum: XLA has to keep
# the old values aside. The values are right, and nothing warns, since each donated buffer
# is used. A function that takes weights and state in the order in which it returns them
# needs no temporary memory and no copy.
#
# Seen on 2026-11-29 (CPU, Python 3.11), one weight of a million elements; SGD with
# momentum, bytes of temporary memory and copies of a million elements in the program:
#   (state, gradients, weights) -> (weights, state): 4000000 bytes, 2 copies
#   (weights, state, gradients) -> (weights, state): 0 bytes, 0 copies
# Fails if any of that changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=$(command -v python3.11 || command -v python3)
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -q jax==0.10.2 keras==3.15.1
cat >"$work/program.py" <<'PYTHON'
import re

import jax
import keras

weight = keras.Variable(jax.numpy.zeros(1_000_000))
optimizer = keras.optimizers.SGD(0.01, momentum=0.9)
optimizer.build([weight])
weights = [weight.value]
state = [v.value for v in optimizer.variables]
gradients = [jax.numpy.ones(1_000_000)]


def in_the_order_of_results(weights, state, gradients):
  return optimizer.stateless_apply(state, gradients, weights)


def measure(function, donated, arguments):
  step = jax.jit(function, donate_argnums=donated)
  compiled = step.lower(*arguments).compile()
  copies = re.findall(r"f32\[1000000\]\S* copy\(", compiled.as_text())
  return compiled.memory_analysis().temp_size_in_bytes, len(copies)


own = measure(optimizer.stateless_apply, (0, 2), (state, gradients, weights))
alike = measure(in_the_order_of_results, (0, 1), (weights, state, gradients))
for order, (size, copies) in (
  ("(state, gradients, weights)", own),
  ("(weights, state, gradients)", alike),
):
  print(f"{order} -> (weights, state): {size} bytes, {copies} copies")
assert own == (4_000_000, 2), own
assert alike == (0, 0), alike
PYTHON
KERAS_BACKEND=jax JAX_PLATFORMS=cpu "$work/venv/bin/python" "$work/program.py"
