"""Steps of other libraries' Lookahead on given gradients, for server.py.

Each function returns two runners: "bare", of the inner optimizer alone, and
"lookahead". Its arguments are `shapes`, the shapes of the parameters; `inner`,
"sgd" or "adam"; and `sync_period`, the steps in a period.
"""

import functools
import os
import pathlib
import sys
import time

ALPHA = 0.5


def _run(step, wait, steps):
  started = time.perf_counter()
  for _ in range(steps):
    step()
  wait()
  return (time.perf_counter() - started) / steps


def optax(shapes, inner, sync_period, donate=False):
  """Returns runners of optax.lookahead and of its inner optimizer.

  As in optax' documentation, parameters are pairs of fast and slow ones, and
  the whole update is compiled. Donated buffers of parameters and state save
  memory, but XLA for CPUs then copies what it would overwrite.
  """
  import jax
  import optax

  makers = {
    "sgd": lambda: optax.sgd(0.01, momentum=0.9),
    "adam": lambda: optax.adam(0.001),
  }
  key = jax.random.key(0)
  gradients = [jax.random.uniform(key, shape) - 0.5 for shape in shapes]

  def make(optimizer, parameters):
    def update(parameters, state, gradients):
      updates, state = optimizer.update(gradients, state, parameters)
      return optax.apply_updates(parameters, updates), state

    update = jax.jit(update, donate_argnums=(0, 1) if donate else ())
    carry = [parameters, optimizer.init(parameters)]

    def step():
      carry[:] = update(*carry, gradients)

    return lambda steps: _run(step, lambda: jax.block_until_ready(carry), steps)

  def copy():
    return [gradient.copy() for gradient in gradients]

  return {
    "bare": make(makers[inner](), copy()),
    "lookahead": make(
      optax.lookahead(makers[inner](), sync_period, ALPHA),
      # `init_synced` has one array stand for both, which cannot be donated.
      optax.LookaheadParams(fast=copy(), slow=copy()),
    ),
  }


optax_donating = functools.partial(optax, donate=True)


def keras_on_jax(shapes, inner, sync_period):
  """Returns runners of this checkout's Lookahead, and of its inner optimizer.

  `stateless_apply` is compiled, and the buffers of the parameters and of the
  state are donated, as the training step of Keras' `fit` on JAX donates them:
  in the order of the results, since JAX reuses buffers of one shape in that
  order (findings/keras_stateless_apply_copies_what_is_donated.sh).
  """
  os.environ.update(KERAS_BACKEND="jax", JAX_PLATFORMS="cpu")
  sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))
  import jax
  import keras

  from lookahead_tf import Lookahead

  makers = {
    "sgd": lambda: keras.optimizers.SGD(0.01, momentum=0.9),
    "adam": lambda: keras.optimizers.Adam(0.001),
  }
  key = jax.random.key(0)
  gradients = [jax.random.uniform(key, shape) - 0.5 for shape in shapes]

  def make(optimizer):
    variables = [keras.Variable(gradient) for gradient in gradients]
    optimizer.build(variables)

    def update(parameters, state, gradients):
      return optimizer.stateless_apply(state, gradients, parameters)

    update = jax.jit(update, donate_argnums=(0, 1))
    carry = [
      [variable.value.copy() for variable in each]
      for each in (variables, optimizer.variables)
    ]

    def step():
      carry[:] = update(*carry, gradients)

    return lambda steps: _run(step, lambda: jax.block_until_ready(carry), steps)

  return {
    "bare": make(makers[inner]()),
    "lookahead": make(Lookahead(makers[inner](), sync_period, ALPHA)),
  }


def pytorch_optimizer(shapes, inner, sync_period):
  """Returns runners of pytorch_optimizer's Lookahead and of its inner one."""
  import pytorch_optimizer

  return _torch_runners(
    shapes,
    inner,
    lambda optimizer: pytorch_optimizer.Lookahead(
      optimizer, k=sync_period, alpha=ALPHA
    ),
  )


def timm(shapes, inner, sync_period):
  """Returns runners of timm's Lookahead and of its inner optimizer."""
  from timm.optim import lookahead

  return _torch_runners(
    shapes,
    inner,
    lambda optimizer: lookahead.Lookahead(
      optimizer, alpha=ALPHA, k=sync_period
    ),
  )


def _torch_runners(shapes, inner, wrap):
  import torch

  makers = {
    "sgd": lambda parameters: torch.optim.SGD(
      parameters, lr=0.01, momentum=0.9
    ),
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=0.001),
  }
  gradients = [torch.rand(shape) - 0.5 for shape in shapes]

  def make(wrap):
    parameters = [torch.nn.Parameter(g.clone()) for g in gradients]
    for parameter, gradient in zip(parameters, gradients):
      parameter.grad = gradient
    optimizer = wrap(makers[inner](parameters))
    return lambda steps: _run(optimizer.step, lambda: None, steps)

  return {"bare": make(lambda optimizer: optimizer), "lookahead": make(wrap)}
