"""Measures steps of another library, in that library's environment.

`client.py` starts this program with another interpreter: it imports nothing of
this repository. Standard input and output carry one JSON object a line. The
first request has `peer`, `arguments` and `warmup_steps`; the reply has
`versions`, or `error` with the reason why this peer cannot be measured. Each
further request has `which`, the name of a runner, and `steps`; the reply has
the `seconds` that one step took on average.
"""

import importlib.metadata
import importlib.util
import json
import os
import pathlib
import sys

# The file and the function that make a peer's runners, and the distributions
# whose versions matter. A runner makes so many steps, and returns the mean
# seconds of a step.
PEERS = {
  "optax": ("lookahead_optimizers", "optax", ("optax", "jax")),
  "optax_donating": (
    "lookahead_optimizers",
    "optax_donating",
    ("optax", "jax"),
  ),
  "keras_on_jax": ("lookahead_optimizers", "keras_on_jax", ("keras", "jax")),
  "pytorch_optimizer": (
    "lookahead_optimizers",
    "pytorch_optimizer",
    ("pytorch_optimizer", "torch"),
  ),
  "timm": ("lookahead_optimizers", "timm", ("timm", "torch")),
  "classifier": ("pytorch", "classifier", ("torch",)),
  "speedrun": ("speedrun", "step", ("torch",)),
  "transformer": ("pytorch", "transformer", ("torch",)),
  "awd_lstm": ("pytorch", "awd_lstm", ("torch",)),
  "generation": ("pytorch_libraries", "generation", ("torch", "transformers")),
  "image_input": ("pytorch_libraries", "image_input", ("torch", "torchvision")),
}


def _load(name):
  """Returns the module in a file beside this one."""
  path = pathlib.Path(__file__).with_name(f"{name}.py")
  spec = importlib.util.spec_from_file_location(f"{name}_file", path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def main() -> None:
  """Serves one peer until standard input ends."""
  replies = os.fdopen(os.dup(1), "w")
  os.dup2(2, 1)  # What libraries print is no reply.

  def reply(**fields):
    replies.write(json.dumps(fields) + "\n")
    replies.flush()

  request = json.loads(sys.stdin.readline())
  try:
    file, function, packages = PEERS[request["peer"]]
    runners = getattr(_load(file), function)(**request["arguments"])
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
