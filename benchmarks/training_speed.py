"""Training steps of ours, bare and with Lookahead, beside PyTorch's."""

import functools
import time
from collections.abc import Callable, Mapping
from typing import Any

import keras
import ml_collections
import tensorflow as tf
from absl import flags

from benchmarks import speed
from configs import lookahead

PYTORCH = "PyTorch"
# Of ours: what tables call it, whether by XLA, and whether with Lookahead.
VARIANTS = {
  "graph": ("ours, graph", False, False),
  "graph_lookahead": ("ours, graph, Lookahead", False, True),
  "xla": ("ours, XLA", True, False),
  "xla_lookahead": ("ours, XLA, Lookahead", True, True),
}

_VARIANTS = flags.DEFINE_multi_enum(
  "variants", list(VARIANTS), list(VARIANTS), "Of ours."
)

TrainStep = Callable[[Any], Mapping[str, tf.Tensor]]


def measure(
  title: str,
  config: ml_collections.ConfigDict,
  make_train_step: Callable[
    [ml_collections.ConfigDict, tf.distribute.Strategy], TrainStep
  ],
  batch: Any,
  peer: str,
  peer_arguments: Mapping[str, Any],
  *,
  rounds: int,
  versions: dict[str, str],
) -> dict[str, Any]:
  """Returns what `speed.measure` does.

  Args:
    title: Of the progress bars.
    config: An experiment without Lookahead.
    make_train_step: A function of such a config, or one with Lookahead, and of
      a strategy; returns one replica's step, which returns its figures.
    batch: What the step takes, each time the same.
    peer: The name of PyTorch's step, as `peers.Peer` has it.
    peer_arguments: Its arguments but for the number of threads.
    rounds: Of each variant.
    versions: Gets those of the peer.
  """
  makers = {}
  for variant in _VARIANTS.value:
    label, *options = VARIANTS[variant]
    makers[label] = functools.partial(
      _make_runner, config, make_train_step, batch, *options
    )
  return speed.measure(
    title,
    makers,
    (PYTORCH, peer, peer_arguments),
    rounds=rounds,
    versions=versions,
  )


def _make_runner(config, make_train_step, batch, uses_xla, has_lookahead):
  """Returns a `speed.Runner`."""
  config = ml_collections.ConfigDict(config)
  config.jit_compile = uses_xla
  if has_lookahead:
    lookahead.add_to(config, sync_period=5, slow_step_size=0.5)
  keras.utils.set_random_seed(0)
  train_step = make_train_step(config, tf.distribute.OneDeviceStrategy("CPU:0"))

  def run(steps):
    started = time.perf_counter()
    for _ in range(steps):
      figures = train_step(batch)
    float(figures["loss"])  # Waits for the last step.
    return (time.perf_counter() - started) / steps

  return run
