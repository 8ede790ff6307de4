"""The ways to run training steps that Keras' backends have.

`WAYS[name]` is a function of a model that is not compiled and an optimizer. The
function trains on the first STEPS batches of `small_model`.
"""

import keras
import tensorflow as tf
from keras import ops

from tests import xla
from tests.lookahead_tf import small_model

BACKEND = keras.backend.backend()
STEPS = 7


def _tape_step(model, optimizer, x, y, builds=False):
  with tf.GradientTape() as tape:
    loss = tf.reduce_mean((model(x) - y) ** 2)
  gradients = tape.gradient(loss, model.trainable_variables)
  if builds:
    optimizer.build(model.trainable_variables)
    optimizer.apply(gradients)
  else:
    optimizer.apply(gradients, model.trainable_variables)


def _backward_step(model, optimizer, x, y):
  model.zero_grad()
  ops.mean((model(x) - y) ** 2).backward()
  variables = model.trainable_variables
  optimizer.apply([v.value.grad for v in variables], variables)


def _grad_step(model, optimizer, x, y):
  import jax

  def loss(weights):
    found, _ = model.stateless_call(weights, [], x)
    return ops.mean((found - y) ** 2)

  variables = model.trainable_variables
  gradients = jax.grad(loss)([v.value for v in variables])
  optimizer.apply(gradients, variables)


_EAGER_STEPS = {
  "tensorflow": _tape_step,
  "torch": _backward_step,
  "jax": _grad_step,
}


def _eager(model, optimizer):
  for step in range(STEPS):
    x, y = map(ops.convert_to_tensor, small_model.batch(step))
    _EAGER_STEPS[BACKEND](model, optimizer, x, y)


def _function(model, optimizer, builds=False, **arguments):
  @tf.function(**arguments)
  def train_step(x, y):
    _tape_step(model, optimizer, x, y, builds)

  for step in range(STEPS):
    train_step(*map(tf.constant, small_model.batch(step)))


def apply_stateless(optimizer, variables, gradient, steps: int) -> None:
  """Trains by `stateless_apply`, and then assigns weights and state.

  Args:
    optimizer: A Keras optimizer.
    variables: The weights.
    gradient: A function of (weights, step number), as for `algorithm1`.
    steps: The number of updates.
  """
  _apply_stateless(optimizer, variables, gradient, steps, lambda apply: apply)


def apply_stateless_jit(optimizer, variables, gradient, steps: int) -> None:
  """As `apply_stateless`, with the update compiled by JAX."""
  import jax

  _apply_stateless(optimizer, variables, gradient, steps, jax.jit)


def _apply_stateless(optimizer, variables, gradient, steps, decorate):
  optimizer.build(variables)
  apply = decorate(optimizer.stateless_apply)
  state = [v.value for v in optimizer.variables]
  weights = [v.value for v in variables]
  for step in range(steps):
    gradients = gradient(small_model.values(weights), step)
    weights, state = apply(state, small_model.tensors(gradients), weights)
  for variable, value in zip(variables + optimizer.variables, weights + state):
    variable.assign(value)


def _stateless(model, optimizer, apply=apply_stateless):
  apply(optimizer, model.trainable_variables, small_model.gradient, STEPS)


def _fit(model, optimizer, **compile_arguments):
  model.compile(optimizer, loss="mse", **compile_arguments)
  small_model.fit(model, STEPS)


def _train_on_batch(model, optimizer):
  model.compile(optimizer, loss="mse")
  small_model.train(model, 0, STEPS)


WAYS = {
  "eager": _eager,
  "function": _function,
  "function_xla": lambda m, o: _function(m, o, jit_compile=True),
  "function_that_builds": lambda m, o: _function(m, o, builds=True),
  "stateless": _stateless,
  "stateless_jit": lambda m, o: _stateless(m, o, apply_stateless_jit),
  "fit": lambda m, o: _fit(m, o, jit_compile=False),
  "fit_xla": lambda m, o: _fit(m, o, jit_compile=True),
  "fit_eager": lambda m, o: _fit(m, o, run_eagerly=True),
  "fit_4_steps": lambda m, o: _fit(m, o, steps_per_execution=4),
  "fit_loss_scale": lambda m, o: _fit(
    m, keras.optimizers.LossScaleOptimizer(o, initial_scale=4.0)
  ),
  "train_on_batch": _train_on_batch,
}
_LACKING = {
  "tensorflow": ("stateless", "stateless_jit"),
  "jax": ("function", "function_xla", "function_that_builds"),
  "torch": (
    *("function", "function_xla", "function_that_builds", "stateless_jit"),
    "fit_4_steps",  # Keras refuses steps_per_execution.
    "fit_xla",  # torch.compile would need a C++ compiler.
  ),
}


def require(test, way: str) -> None:
  """Skips a test of a way to run that there is not here."""
  if way in _LACKING[BACKEND]:
    test.skipTest(f"Keras has no {way} on {BACKEND}")
  if BACKEND == "tensorflow" and "xla" in way:
    xla.require(test)
