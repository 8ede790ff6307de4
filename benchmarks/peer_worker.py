"""Times steps of another library, in that library's environment.

`peers.py` starts it with another interpreter, so that it imports nothing of
this repository. Standard input and output carry a JSON object a line. The
first names the peer, the arguments of its maker below and how many steps to
warm up; the answer holds `versions`, or `error` with the reason why this peer
cannot be measured. Each further one asks for `steps` of one `which` of its
runners; the answer holds the `seconds` that one step took on average.
"""

import functools
import importlib.metadata
import importlib.util
import json
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

  As the documentation has it: parameters are pairs of fast and slow ones, and
  the whole update is compiled. To donate the buffers of parameters and state
  saves memory, but on the CPU XLA then copies what it would overwrite.
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
  """Returns runners of timm's Lookahead and of its inner optimizer.

  Its file needs torch alone, but its packages import torchvision.
  """
  package = importlib.util.find_spec("timm")
  if package is None:
    raise ModuleNotFoundError("No module named 'timm'")
  module = _load(pathlib.Path(package.origin).parent / "optim" / "lookahead.py")
  return _torch_runners(
    shapes,
    inner,
    lambda optimizer: module.Lookahead(optimizer, alpha=ALPHA, k=sync_period),
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


def in_file(name, **arguments):
  """Returns the one runner that `name`.py beside this file makes."""
  path = pathlib.Path(__file__).with_name(f"{name}.py")
  return {"bare": _load(path).make_runner(**arguments)}


def _load(path):
  """Returns the module in a file that is not to be found by its name."""
  spec = importlib.util.spec_from_file_location(f"{path.stem}_file", path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


# The runners' makers, and the distributions whose versions matter.
PEERS = {
  "optax": (optax, ("optax", "jax")),
  "optax_donating": (
    functools.partial(optax, donate=True),
    ("optax", "jax"),
  ),
  "pytorch_optimizer": (pytorch_optimizer, ("pytorch_optimizer", "torch")),
  "timm": (timm, ("timm", "torch")),
  **{
    name: (functools.partial(in_file, name), packages)
    for name, packages in (
      ("torch_training", ("torch",)),
      ("torchvision_input", ("torch", "torchvision")),
      ("torch_translation", ("torch",)),
      ("marian_generation", ("torch", "transformers")),
    )
  },
}


def main() -> None:
  """Serves one peer until standard input ends."""
  replies = os.fdopen(os.dup(1), "w")
  os.dup2(2, 1)  # What libraries print is no answer.

  def reply(**fields):
    replies.write(json.dumps(fields) + "\n")
    replies.flush()

  request = json.loads(sys.stdin.readline())
  try:
    make_runners, packages = PEERS[request["peer"]]
    runners = make_runners(**request["arguments"])
    for run in runners.values():
      run(request["warmup_steps"])  # Compiles, and touches all memory.
    versions = {name: importlib.metadata.version(name) for name in packages}
  except Exception as error:  # Whatever the library raises is the reason.
    reply(error=f"{type(error).__name__}: {error}")
    return
  reply(versions=versions)
  for line in sys.stdin:
    request = json.loads(line)
    reply(seconds=runners[request["which"]](request["steps"]))


if __name__ == "__main__":
  main()
