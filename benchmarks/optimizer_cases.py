"""What optimizer.py measures: time and memory of steps of an optimizer alone.

There is no model: gradients are given. A step does what happens at the end of a
training step. The gradients are arguments, so that XLA cannot compute with them
beforehand.
"""

import contextlib
import ctypes
import dataclasses
import functools
import gc
import math
import re
import time
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tqdm

from benchmarks.harness import interleaving
from benchmarks.peers import client
from lookahead_tf import Lookahead

Shape = tuple[int, ...]

# What charts call the keys of SHAPES and of INNERS.
NAMES = {
  "resnet50": "ResNet-50",
  "transformer_base": "Transformer-base",
  "tiny": "tiny",
  "sgd": "SGD",
  "adam": "Adam",
}
# How a step of ours is executed, and what tables call it.
MODES = {
  "graph": "lookahead_tf, graph",
  "xla": "lookahead_tf, XLA",
  "xla_loop": "lookahead_tf, loop by XLA",
}
INNERS = {
  "sgd": lambda: keras.optimizers.SGD(0.01, momentum=0.9),
  "adam": lambda: keras.optimizers.Adam(0.001),
}
# Processes of their own: our Lookahead on JAX, and other libraries' Lookahead.
# Their names in server.py, and those in tables.
PEERS = {
  "keras_on_jax": "lookahead_tf, JAX with donation",
  "optax": "optax, jit",
  "optax_donating": "optax, jit with donation",
  "pytorch_optimizer": "pytorch_optimizer",
  "timm": "timm",
}

# Memory traffic in units of N, the bytes of the parameters. The tensors of a
# model do not fit into the caches, and an optimizer computes little with each
# number: its time is at least that of reading and writing.
# - A step of SGD with momentum reads w, m and g and writes w and m: 5 N.
# - A step of Adam reads w, m, v and g and writes w, m and v: 7 N.
# - A synchronization as a pass of its own reads the fast and the slow weights
#   and writes both: 4 N once a period.
# - Fused into the last update of a period, a synchronization has the fast
#   weights at hand: it reads and writes the slow weights, 2 N once a period.
INNER_STEP_TRAFFIC = {"sgd": 5, "adam": 7}
SYNCHRONIZATION_TRAFFIC = {"separate pass": 4, "fused pass": 2}


def traffic_bound(inner: str, sync_period: int, synchronization: str) -> float:
  """Returns the least ratio of a step with Lookahead to one without.

  The ratio is exact if memory traffic is all that costs. A measured ratio below
  it means that the inner optimizer has more traffic than assumed: TensorFlow
  without XLA makes a pass for each operation.

  Args:
    inner: A key of INNER_STEP_TRAFFIC.
    sync_period: Steps in a period.
    synchronization: A key of SYNCHRONIZATION_TRAFFIC.
  """
  return 1 + SYNCHRONIZATION_TRAFFIC[synchronization] / (
    INNER_STEP_TRAFFIC[inner] * sync_period
  )


def make_optimizer(
  inner: str, sync_period: int | None, slow_momentum: float = 0.0
) -> keras.optimizers.Optimizer:
  """Returns the inner optimizer, in Lookahead unless the period is None."""
  optimizer = INNERS[inner]()
  if sync_period is None:
    return optimizer
  return Lookahead(
    optimizer,
    sync_period=sync_period,
    slow_step_size=0.5,
    slow_momentum=slow_momentum,
    slow_nesterov=True,
  )


def make_gradients(shapes: Sequence[Shape]) -> list[tf.Tensor]:
  """Returns random float32 tensors of these shapes, the same on each call."""
  random = np.random.default_rng(0)
  return [tf.constant(random.random(s, "float32") - 0.5) for s in shapes]


class OptimizerSteps:
  """Parameters, an optimizer of them, and its step as a `tf.function`.

  Args:
    gradients: One float32 tensor for each parameter.
    inner: A key of INNERS.
    mode: "graph"; "xla" to compile the step; or "xla_loop" to compile a loop of
      steps. Called from Python, a step has to be handed each variable anew.
    sync_period: Lookahead's, or None for the inner optimizer alone.
    slow_momentum: Lookahead's.

  Attributes:
    optimizer: The optimizer, built.
    parameters: List of Keras variables, of the shapes of the gradients.
  """

  def __init__(
    self,
    gradients: Sequence[tf.Tensor],
    inner: str,
    mode: str,
    sync_period: int | None,
    slow_momentum: float = 0.0,
  ):
    self._gradients = list(gradients)
    self.parameters = [
      keras.Variable(gradient, dtype="float32", name=f"parameter_{i}")
      for i, gradient in enumerate(self._gradients)
    ]
    self.optimizer = make_optimizer(inner, sync_period, slow_momentum)
    self.optimizer.build(self.parameters)
    self._is_loop = mode == "xla_loop"
    self._step = tf.function(self._apply, jit_compile=mode == "xla")
    self._loop = tf.function(self._make_steps, jit_compile=True)

  def _apply(self, gradients):
    self.optimizer.apply(gradients, self.parameters)

  def _make_steps(self, steps, gradients):
    for _ in tf.range(steps):
      self._apply(gradients)

  def run(self, steps: int) -> float:
    """Makes steps, and returns the seconds that one took on average."""
    started = time.perf_counter()
    if self._is_loop:
      self._loop(tf.constant(steps), self._gradients)
    else:
      for _ in range(steps):
        self._step(self._gradients)
    self.optimizer.iterations.numpy()  # Waits for the last step.
    return (time.perf_counter() - started) / steps

  def state_bytes(self) -> int:
    """Returns the bytes of the optimizer's variables, without parameters."""
    return sum(
      math.prod(variable.shape) * tf.as_dtype(variable.dtype).size
      for variable in self.optimizer.variables
    )


@dataclasses.dataclass(frozen=True)
class Case:
  """What the variants that are measured together have in common.

  Attributes:
    model: A key of SHAPES.
    inner: A key of INNERS.
    sync_period: Steps in a period.
    slow_momentum: Momentum of the slow weights, which is then measured beside
      Lookahead without; 0 for no such variant.
  """

  model: str
  inner: str
  sync_period: int
  slow_momentum: float = 0.0

  def bounds(self) -> dict[str, float]:
    """Returns the bounds of the ratio, by name."""
    return {
      f"memory traffic, {way}": traffic_bound(self.inner, self.sync_period, way)
      for way in SYNCHRONIZATION_TRAFFIC
    }


def measure_time(
  case: Case,
  modes: Sequence[str],
  rounds: int,
  patience: float,
  peers_python: str | None,
) -> dict[str, Any]:
  """Returns a JSON-like record of the times of a step.

  Args:
    case: What to measure.
    modes: Keys of MODES.
    rounds: Rounds of each variant. A measurement is two periods, so that all
      synchronizations are in it.
    patience: Seconds that the case may wait for a quiet machine.
    peers_python: Interpreter with the other libraries, or None for none.
  """
  shapes = SHAPES[case.model]()
  title = f"{case.model} {case.inner} k={case.sync_period}"
  with client.Peers(peers_python) as peers:
    groups = _own_groups(case, shapes, title, modes)
    for name, label in PEERS.items():
      peer = peers.start(
        label,
        name,
        warmup_steps=4 * case.sync_period,
        shapes=shapes,
        inner=case.inner,
        sync_period=case.sync_period,
      )
      if peer:
        groups[label] = {
          which: functools.partial(peer.run, which, 2 * case.sync_period)
          for which in ("bare", "lookahead")
        }
    measurement = interleaving.measure(groups, rounds, title, patience)
  return {
    **dataclasses.asdict(case),
    "parameters": count_parameters(shapes),
    "tensors": len(shapes),
    "seconds_per_step": measurement.seconds,
    "disturbed_rounds": measurement.disturbed,
    "not_measured": peers.not_measured,
    "peer_versions": peers.versions,
  }


def _own_groups(case, shapes, title, modes):
  """Returns functions that measure the seconds of a step, for each mode."""
  gradients = make_gradients(shapes)
  steps = 2 * case.sync_period
  groups = {}
  for mode in tqdm.tqdm(list(modes), f"{title}: ours", leave=False):
    group = {}
    variants = {
      "bare": {"sync_period": None},
      "lookahead": {"sync_period": case.sync_period},
    }
    if case.slow_momentum:
      variants["momentum"] = {
        "sync_period": case.sync_period,
        "slow_momentum": case.slow_momentum,
      }
    for which, arguments in variants.items():
      variant = OptimizerSteps(gradients, case.inner, mode, **arguments)
      variant.run(2 * steps)  # Compiles, and touches all memory.
      group[which] = functools.partial(variant.run, steps)
    groups[MODES[mode]] = group
  return groups


def measure_memory(
  model: str,
  inner: str,
  mode: str,
  sync_period: int | None,
  one_element: bool = False,
) -> dict[str, int]:
  """Returns the memory of steps; a fresh process is needed for each call.

  Args:
    model: A key of SHAPES.
    inner: A key of INNERS.
    mode: A key of MODES.
    sync_period: Lookahead's, or None for the inner optimizer alone.
    one_element: Whether to have as many parameters of one element each. Graphs
      and compiled code, which are much of the memory, stay the same.

  Returns:
    `state_bytes`, the bytes of the optimizer's variables, and `peak_bytes`, the
    greatest resident memory of this process during steps after the first ones.
  """
  shapes = SHAPES[model]()
  if one_element:
    shapes = [(1,)] * len(shapes)
  variant = OptimizerSteps(make_gradients(shapes), inner, mode, sync_period)
  variant.run(2 * (sync_period or 5))
  _forget_the_peak()
  variant.run(2 * (sync_period or 5))
  return {"state_bytes": variant.state_bytes(), "peak_bytes": _peak_bytes()}


def _forget_the_peak():
  # Otherwise the peak would be the compiler's, whose memory is given back
  # first. Not every system allows this.
  gc.collect()
  with contextlib.suppress(AttributeError):
    ctypes.CDLL(None).malloc_trim(0)
  with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
    file.write("5")


def _peak_bytes():
  with open("/proc/self/status") as file:
    return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", file.read())[1])


def count_parameters(shapes: Sequence[Shape]) -> int:
  """Returns the number of parameters in tensors of these shapes."""
  return sum(math.prod(shape) for shape in shapes)


def resnet50_shapes() -> list[Shape]:
  """Returns the shapes of ResNet-50 for ImageNet, in torchvision's form.

  He et al. 2016 (https://arxiv.org/abs/1512.03385), Table 1: bottleneck blocks,
  each convolution followed by a normalization with gamma and beta. Kernels are
  (height, width, channels in, channels out).
  """
  shapes = _convolution(7, 3, 64)
  channels = 64
  for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
    for block in range(blocks):
      shapes += _convolution(1, channels, width)
      shapes += _convolution(3, width, width)
      shapes += _convolution(1, width, 4 * width)
      if block == 0:
        shapes += _convolution(1, channels, 4 * width)  # The shortcut.
      channels = 4 * width
  return [*shapes, (channels, 1000), (1000,)]


def _convolution(size, channels_in, channels_out):
  kernel = (size, size, channels_in, channels_out)
  return [kernel, (channels_out,), (channels_out,)]


def transformer_base_shapes(vocabulary: int = 2**15) -> list[Shape]:
  """Returns the shapes of Transformer-base, in tensor2tensor's form.

  Vaswani et al. 2017 (https://arxiv.org/abs/1706.03762), Table 3: 6 layers on
  each side, model size 512, inner size 2048. tensor2tensor's `transformer_base`
  normalizes before each sublayer and at the end of each side; projections to
  and from the 8 heads of 64 are matrices without bias; one matrix is the
  embedding of source and target and the output layer.

  Args:
    vocabulary: Number of subwords of source and target together.
  """
  size, inner, layers = 512, 2048, 6
  norm = [(size,), (size,)]
  attention = [*norm, *[(size, size)] * 4]  # Query, key, value, output.
  feed_forward = [*norm, (size, inner), (inner,), (inner, size), (size,)]
  encoder = (attention + feed_forward) * layers + norm
  decoder = (attention * 2 + feed_forward) * layers + norm
  return [(vocabulary, size), *encoder, *decoder]


def tiny_shapes() -> list[Shape]:
  """Returns a few small shapes, to try a program out."""
  return [(64, 32), (32,), (32, 10), (10,)]


# The time of an optimizer's step depends on the shapes of the parameters
# alone, so that no model needs to be built.
SHAPES = {
  "resnet50": resnet50_shapes,
  "transformer_base": transformer_base_shapes,
  "tiny": tiny_shapes,
}
