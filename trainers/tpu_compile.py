"""Compiles a trainer's step for TPUs, on a machine that has none."""

import functools
import importlib.util
import os
from collections.abc import Callable, Sequence
from typing import Any

import ml_collections
import tensorflow as tf
import tqdm

from trainers import tpu_chips, tpu_program, tpu_report
from trainers.errors import UserError
from trainers.tpu_report import Result

# Returns one replica's training step, and the specs of its batch.
MakeStep = Callable[[tf.distribute.Strategy], tuple[Callable[[Any], Any], Any]]

# Read when JAX and libtpu are imported, so that they look for no TPU of this
# machine. By the last one libtpu takes no lock, since it takes no TPU: it would
# leave the lock behind, and then not start again.
_ENVIRONMENT = {
  "JAX_PLATFORMS": "cpu",
  "TPU_SKIP_MDS_QUERY": "1",
  "TPU_WORKER_HOSTNAMES": "localhost",
  "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}


def report_config(
  make_step: Callable[[ml_collections.ConfigDict, tf.distribute.Strategy], Any],
  config: ml_collections.ConfigDict,
  slices: Sequence[str],
  global_batch_size: int,
  unit: str = "examples",
) -> int:
  """Does what `report` does, with the step of a config.

  Args:
    make_step: As in `compile_step`, but a function of the config too.
    config: An experiment.
    slices: As in `compile_step`.
    global_batch_size: As in `report`.
    unit: As in `report`.
  """
  inner = ml_collections.ConfigDict(config)
  with inner.unlocked():
    inner.lookahead = None
  return report(
    functools.partial(make_step, config),
    functools.partial(make_step, inner) if config.lookahead else None,
    slices,
    global_batch_size,
    unit,
  )


def report(
  make_step: MakeStep,
  make_inner_step: MakeStep | None,
  slices: Sequence[str],
  global_batch_size: int,
  unit: str = "examples",
) -> int:
  """Compiles a step for TPU slices and prints what it would take of them.

  Args:
    make_step: As in `compile_step`.
    make_inner_step: As in `compile_step`.
    slices: As in `compile_step`.
    global_batch_size: Examples in a step over all devices.
    unit: What an example is called.

  Returns:
    The exit status: 0, or 1 if the step does not compile or does not fit.

  Raises:
    UserError: if there is no such slice, or the extra is not installed.
  """
  results = compile_step(make_step, make_inner_step, slices)
  print(tpu_report.format_results(results, global_batch_size, unit))
  return int(any(result.verdict() != "compiles" for result in results))


def compile_step(
  make_step: MakeStep,
  make_inner_step: MakeStep | None,
  slices: Sequence[str],
) -> list[Result]:
  """Compiles a training step for TPU slices, with a progress bar.

  Nothing is run: it shows that operations, shapes and collectives are such as
  TPUs have, and that memory suffices.

  Args:
    make_step: Makes the model, the optimizer and the step that training would
      run under the strategy it is given.
    make_inner_step: Makes the same step with the inner optimizer alone, or
      None if the optimizer is no Lookahead.
    slices: Names of TPU slices, keys of `tpu_chips.SLICES`.

  Raises:
    UserError: if there is no such slice, or the extra is not installed.
  """
  found = tpu_chips.find(slices)
  compiler = _load_compiler()
  makers = [make_step] + ([make_inner_step] if make_inner_step else [])
  lower = functools.cache(_lower)  # Slices of as many devices share it.
  results = []
  with tqdm.tqdm(total=len(found) * len(makers), unit="program") as progress:
    for name, chips in found.items():
      progress.set_description(f"Compiling for {name}")
      devices = compiler.find_devices(chips)
      costs = []
      for make in makers:
        try:
          program = lower(make, len(devices))
          costs.append(compiler.compile_program(program, devices))
        except (tpu_program.LoweringError, compiler.CompileError) as error:
          costs.append(str(error))
        progress.update()
      results.append(Result(name, len(devices), *costs))
  return results


def _lower(make_step, replicas):
  strategy = tpu_program.CompiledReplicas(replicas)
  step, batch_spec = make_step(strategy)
  return tpu_program.stablehlo(step, batch_spec, strategy)


def _load_compiler():
  """Returns the module `tpu_compiler`, whose imports not everyone has."""
  for name in ("jax", "libtpu"):
    if importlib.util.find_spec(name) is None:
      raise UserError(
        f"tpu_compile_only needs {name}: pip install -e '.[tpu-compile]'"
      )
  os.environ.update(_ENVIRONMENT)
  from trainers import tpu_compiler

  return tpu_compiler
