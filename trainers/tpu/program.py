"""A training step as the program that each replica of a TPU slice would run."""

import json
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.compiler.tf2xla.ops import gen_xla_ops
from tensorflow.python.distribute import one_device_strategy

# TensorFlow prints this operation, which changes no value, in another dialect
# than all the rest; the compiler reads one dialect only.
_COPY = re.compile(r"mhlo\.copy (%[\w#]+) : (\S+)")
# It writes constant booleans as bits, of which newer compilers expect bytes.
_BITS = re.compile(r'dense<"0x([0-9A-F]+)"> : tensor<((?:\d+x)+)i1>')


class LoweringError(Exception):
  """TensorFlow cannot express a step to XLA; the message is TensorFlow's."""


class CompiledReplicas(tf.distribute.Strategy):
  """Replicas that exist in a compiled program only.

  Model, optimizer and step see so many replicas, as under a TPUStrategy: each
  takes its part of the global batch, and `all_reduce`, by which Keras sums
  gradients and the statistics of synchronized batch normalization, becomes the
  collective operation of XLA. Variables are on the CPU, once. A step can be
  traced and compiled, but not run.

  Args:
    replicas: How many.
  """

  def __init__(self, replicas: int):
    super().__init__(_CompiledReplicasExtended(self, replicas))


class _CompiledReplicasExtended(one_device_strategy.OneDeviceExtended):
  def __init__(self, strategy, replicas):
    super().__init__(strategy, "/cpu:0")
    self._replicas = replicas

  @property
  def worker_devices(self):
    """Where the program runs: what is best for a CPU may not be for these."""
    return tuple(f"/device:TPU:{i}" for i in range(self._replicas))

  @property
  def _num_replicas_in_sync(self):
    return self._replicas

  def _reduce_to(self, reduce_op, value, destinations, options):
    """Reduces a replica's tensor over all, by the operation that TPUs have."""
    del destinations, options
    total = gen_xla_ops.xla_all_reduce(
      tf.convert_to_tensor(value),  # Dense, if it was sparse.
      group_assignment=[list(range(self._replicas))],
      reduce_op="Add",
      mode="CrossReplica",
    )
    if reduce_op == tf.distribute.ReduceOp.MEAN:
      return total / tf.cast(self._replicas, total.dtype)
    return total


def stablehlo(
  step: Callable[[Any], Any],
  batch_spec: Any,
  strategy: CompiledReplicas,
) -> str:
  """Returns the program of one replica.

  Args:
    step: One replica's training step, a function of a batch. It was made, like
      the variables that it uses, for `strategy`.
    batch_spec: `tf.TensorSpec`s of one replica's batch, with static shapes.
    strategy: Whose replicas run the program.

  Returns:
    StableHLO text. Its arguments are the batch and then the variables, which
    its results replace.

  Raises:
    LoweringError: if XLA has no such operation.
  """

  @tf.function(jit_compile=True, autograph=False)
  def program(*tensors):
    batch = tf.nest.pack_sequence_as(batch_spec, tensors)
    return strategy.run(step, args=(batch,))

  specs = tf.nest.flatten(batch_spec)
  with tf.device("/cpu:0"):
    lower = program.experimental_get_compiler_ir(*specs)
    try:
      text = lower(stage="stablehlo")
    except (tf.errors.OpError, ValueError) as error:
      raise LoweringError(str(error)) from error
  text = _COPY.sub(r"stablehlo.reshape \1 : (\2) -> \2", text)
  return _BITS.sub(_write_out, text)


def _write_out(match):
  """Returns constant booleans as a list, which any compiler can read."""
  shape = [int(size) for size in match[2].split("x")[:-1]]
  values = np.unpackbits(
    np.frombuffer(bytes.fromhex(match[1]), np.uint8),
    count=math.prod(shape),
    bitorder="little",
  )
  text = json.dumps(values.reshape(shape).astype(bool).tolist())
  return f"dense<{text}> : tensor<{match[2]}i1>"
