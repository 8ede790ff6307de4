"""The ahead-of-time compiler of libtpu, which needs no TPU.

Importing this takes the extra `tpu-compile` and the environment variables that
`compile_only` sets.
"""

import math
from typing import Any

import jax
import numpy as np
from jax.experimental import topologies
from jax.extend.mlir import ir
from jax.interpreters import mlir
from jaxlib import xla_client

from trainers.tpu.chips import Cost, Slice


class CompileError(Exception):
  """The compiler refused; the message is the compiler's."""


def find_devices(chips: Slice) -> list[Any]:
  """Returns the devices of a slice, for `compile_program`.

  Raises:
    CompileError: if this libtpu does not know such a slice.
  """
  try:
    description = topologies.get_topology_desc(
      chips.topology, platform="tpu", chip_config_name=chips.chip_config
    )
  except jax.errors.JaxRuntimeError as error:
    raise CompileError(str(error)) from error
  return list(description.devices)


def compile_program(stablehlo: str, devices: list[Any]) -> Cost:
  """Compiles one replica's program for `devices`, a replica each.

  Args:
    stablehlo: Text of the program.
    devices: From `find_devices`.

  Raises:
    CompileError: if it does not compile, or takes more memory than there is.
  """
  options = xla_client.CompileOptions()
  options.num_replicas = len(devices)
  options.num_partitions = 1
  options.device_assignment = xla_client.DeviceAssignment.create(
    np.array([[device.id] for device in devices])
  )
  with mlir.make_ir_context():
    try:
      executable = devices[0].client.compile(
        ir.Module.parse(stablehlo),
        xla_client.DeviceList(tuple(devices)),
        options,
      )
    except (ir.MLIRError, jax.errors.JaxRuntimeError) as error:
      raise CompileError(str(error)) from error
  return _cost(executable)


def compile_lowered(lowered: jax.stages.Lowered) -> Cost:
  """Compiles a function of JAX that was lowered for devices of `find_devices`.

  Args:
    lowered: What `jax.jit(function).lower(...)` returns.

  Raises:
    CompileError: as `compile_program`.
  """
  try:
    return _cost(lowered.compile().runtime_executable())
  except jax.errors.JaxRuntimeError as error:
    raise CompileError(str(error)) from error


def _cost(executable):
  """Returns what a program takes, from numbers that libtpu has made.

  The program's text is not among them: libtpu 0.0.52 fails to give that of some
  programs that it has compiled, such as those with a large gather for v6e.
  """
  memory = executable.get_compiled_memory_stats()
  flop, accessed = _operations(executable)
  return Cost(
    arguments=memory.argument_size_in_bytes,
    temporaries=memory.temp_size_in_bytes,
    total=memory.argument_size_in_bytes
    + memory.output_size_in_bytes
    - memory.alias_size_in_bytes
    + memory.temp_size_in_bytes
    + memory.generated_code_size_in_bytes,
    flop=flop,
    accessed=accessed,
  )


def _operations(executable):
  """Returns FLOP and bytes accessed; the verdict does without them."""
  try:
    analysis = executable.cost_analysis()
  except jax.errors.JaxRuntimeError:
    return math.nan, math.nan
  # What a program has none of is left out.
  return analysis.get("flops", 0.0), analysis.get("bytes accessed", 0.0)
