"""How much memory do the steps of an optimizer take at their peak?

Prints JSON: `state_bytes`, the optimizer's variables, and `peak_bytes`, the
greatest resident memory of this process during steps after the first ones.
`optimizer_step` starts it for the inner optimizer alone and with Lookahead:
only a fresh process has a peak of its own. Much of that is graphs and compiled
code, which --one_element leaves alone: each parameter is then a single number.

python -m benchmarks.optimizer_memory --model=resnet50 --inner=sgd --mode=xla \
    --sync_period=5
"""

import contextlib
import ctypes
import gc
import json
import re

from absl import app, flags

from benchmarks import keras_step, parameter_shapes

_MODEL = flags.DEFINE_enum(
  "model", None, list(parameter_shapes.MODELS), "Whose parameters."
)
_INNER = flags.DEFINE_enum(
  "inner", None, list(keras_step.INNERS), "Inner optimizer."
)
_MODE = flags.DEFINE_enum("mode", None, keras_step.MODES, "Execution.")
_SYNC_PERIOD = flags.DEFINE_integer(
  "sync_period", None, "Lookahead's; without it the inner optimizer is alone."
)
_ONE_ELEMENT = flags.DEFINE_bool(
  "one_element", False, "As many parameters, of one element each."
)


def _forget_the_peak():
  # Else it would be that of the compiler, whose memory goes back first. Not
  # every system allows it.
  gc.collect()
  with contextlib.suppress(AttributeError):
    ctypes.CDLL(None).malloc_trim(0)
  with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
    file.write("5")


def _peak_bytes():
  with open("/proc/self/status") as file:
    return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", file.read())[1])


def main(arguments: list[str]) -> None:
  """Makes steps and prints what they needed."""
  if len(arguments) > 1:
    raise app.UsageError(f"Unknown arguments: {arguments[1:]}")
  shapes = parameter_shapes.MODELS[_MODEL.value]()
  if _ONE_ELEMENT.value:
    shapes = [(1,)] * len(shapes)
  step = keras_step.KerasStep(
    keras_step.make_gradients(shapes),
    _INNER.value,
    _MODE.value,
    _SYNC_PERIOD.value,
  )
  step.run(2 * (_SYNC_PERIOD.value or 5))
  _forget_the_peak()
  step.run(2 * (_SYNC_PERIOD.value or 5))
  print(
    json.dumps({"state_bytes": step.state_bytes(), "peak_bytes": _peak_bytes()})
  )


if __name__ == "__main__":
  flags.mark_flags_as_required(["model", "inner", "mode"])
  app.run(main)
