"""The ahead-of-time compiler of libtpu, which needs no TPU.

Importing this takes the extra `tpu-compile` and the environment variables that
`tpu_compile` sets. JAX is here for its way to libtpu only.
"""

from typing import Any

import jax
import numpy as np
from jax.experimental import topologies
from jax.extend.mlir import ir
from jax.interpreters import mlir
from jaxlib import xla_client

from trainers.tpu_chips import Cost, Slice


class CompileError(Exception):
  """The compiler refused; the message is the compiler's."""


def find_devices(chips: Slice) -> list[Any]:
  """Returns the devices of a slice, for `compile_program`."""
  description = topologies.get_topology_desc(
    chips.topology, platform="tpu", chip_config_name=chips.chip_config
  )
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
    module = ir.Module.parse(stablehlo)
    try:
      executable = devices[0].client.compile(
        module, xla_client.DeviceList(tuple(devices)), options
      )
    except jax.errors.JaxRuntimeError as error:
      raise CompileError(str(error)) from error
  return _cost(executable)


def _cost(executable):
  memory = executable.get_compiled_memory_stats()
  analysis = executable.cost_analysis()
  text = "".join(m.to_string() for m in executable.hlo_modules())
  return Cost(
    arguments=memory.argument_size_in_bytes,
    temporaries=memory.temp_size_in_bytes,
    total=memory.argument_size_in_bytes
    + memory.output_size_in_bytes
    - memory.alias_size_in_bytes
    + memory.temp_size_in_bytes
    + memory.generated_code_size_in_bytes,
    flop=analysis["flops"],
    accessed=analysis["bytes accessed"],
    all_reduces=text.count(" all-reduce(") + text.count(" all-reduce-start("),
  )
