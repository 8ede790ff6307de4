"""Compiles a trainer's step for TPUs, on a machine that has none."""

import dataclasses
import functools
import importlib.util
import os
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import tensorflow as tf
import tqdm

from trainers.errors import UserError
from trainers.tpu import chips as chips_lib
from trainers.tpu import program as program_lib
from trainers.tpu import report as report_lib
from trainers.tpu.chips import Cost
from trainers.tpu.report import Failure, Result

# Returns one replica's training step, and the specs of its batch.
MakeStep = Callable[[tf.distribute.Strategy], tuple[Callable[[Any], Any], Any]]
# Compiles a step by the module `ahead_of_time`, for devices of the module.
Compile = Callable[[types.ModuleType, list[Any]], Cost]

# Read when JAX is imported and libtpu is loaded, so that they look for no TPU
# of this machine. By the last one libtpu takes no lock, since it takes no TPU:
# it would leave the lock behind, and then not start again.
_ENVIRONMENT = {
  "JAX_PLATFORMS": "cpu",
  "TPU_SKIP_MDS_QUERY": "1",
  "TPU_WORKER_HOSTNAMES": "localhost",
  "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}


def report(
  make_step: MakeStep,
  make_inner_step: MakeStep | None,
  slices: Sequence[str],
  global_batch_size: int,
  unit: str = "examples",
) -> int:
  """Compiles a step for TPU slices and prints what it would take of them.

  The row of a program is printed as soon as the program is compiled.

  Args:
    make_step: As in `compile_step`.
    make_inner_step: As in `compile_step`.
    slices: As in `compile_step`.
    global_batch_size: Examples in a step over all devices.
    unit: What an example is called.

  Returns:
    The exit status: 0, or 1 if there is a slice for which the step does not
    compile, does not fit or cannot be made.

  Raises:
    UserError: if there is no such slice, if the extra is not installed, or if
      the step cannot be made for any slice.
  """
  results = compile_step(make_step, make_inner_step, slices)
  return print_results(results, global_batch_size, unit)


def print_results(
  compiled: Iterable[Result], global_batch_size: int, unit: str = "examples"
) -> int:
  """Prints results as they come, and what belongs below their table.

  Args:
    compiled: From `compile_programs`.
    global_batch_size: As in `report`.
    unit: As in `report`.

  Returns:
    The exit status, as of `report`.

  Raises:
    UserError: if the step cannot be made for any slice, or if `compiled` raises
      the error.
  """
  table = report_lib.Table(global_batch_size, unit)
  results, waiting = {}, []
  try:
    for result in compiled:
      results[result.name] = result
      waiting.append(result)
      # A mistake may be one of the config, whatever the slice.
      if not all(r.is_mistake() for r in results.values()):
        _print("".join(map(table.add, waiting)))
        waiting = []
    if waiting:
      raise UserError(waiting[0].step.message)
  finally:
    if not waiting and results:
      _print("\n" + report_lib.format_notes(list(results.values())))
  return int(any(r.verdict() != "compiles" for r in results.values()))


def _print(text):
  with tqdm.tqdm.external_write_mode():
    print(text, end="", flush=True)


def compile_step(
  make_step: MakeStep,
  make_inner_step: MakeStep | None,
  slices: Sequence[str],
) -> Iterator[Result]:
  """Compiles a training step for TPU slices, with a progress bar.

  Nothing is run: it shows that operations, shapes and collectives are such as
  TPUs have, and that memory suffices.

  Args:
    make_step: Makes the model, the optimizer and the step that training would
      run under the strategy it is given.
    make_inner_step: Makes the same step with the inner optimizer alone, or
      None if the optimizer is no Lookahead.
    slices: Names of TPU slices, keys of `chips_lib.SLICES`.

  Yields:
    For each slice the result of the step; then, if the step compiled and there
    is `make_inner_step`, that of both.

  Raises:
    UserError: if there is no such slice, or the extra is not installed.
  """
  lower = functools.cache(_lower)  # Slices of as many devices share it.

  def compile_by(make):
    def compile_for(compiler, devices):
      return compiler.compile_program(lower(make, len(devices)), devices)

    return compile_for

  return compile_programs(
    compile_by(make_step),
    make_inner_step and compile_by(make_inner_step),
    slices,
  )


def compile_programs(
  compile_step_for: Compile,
  compile_inner_step_for: Compile | None,
  slices: Sequence[str],
) -> Iterator[Result]:
  """Compiles a step for TPU slices by functions of their devices.

  Args:
    compile_step_for: Compiles the training step.
    compile_inner_step_for: Compiles the same step with the inner optimizer
      alone; or None.
    slices: As in `compile_step`.

  Yields:
    As `compile_step`.

  Raises:
    UserError: as `compile_step`.
  """
  found = chips_lib.find(slices)
  compiler = _load_compiler()

  def attempt(compile_for, devices):
    try:
      return compile_for(compiler, devices)
    except UserError as error:
      return Failure(str(error), is_mistake=True)
    except (program_lib.LoweringError, compiler.CompileError) as error:
      return Failure(str(error))

  programs = 2 if compile_inner_step_for else 1
  with tqdm.tqdm(total=len(found) * programs, unit="program") as progress:
    for i, (name, chips) in enumerate(found.items()):
      progress.set_description(f"Compiling for {name}")
      progress.update(i * programs - progress.n)
      try:
        devices = compiler.find_devices(chips)
      except compiler.CompileError as error:
        yield Result(name, 0, Failure(str(error)))
        continue
      result = Result(name, len(devices), attempt(compile_step_for, devices))
      progress.update()
      yield result
      if compile_inner_step_for and isinstance(result.step, Cost):
        inner_step = attempt(compile_inner_step_for, devices)
        yield dataclasses.replace(result, inner_step=inner_step)
    progress.update(progress.total - progress.n)


def _lower(make_step, replicas):
  strategy = program_lib.CompiledReplicas(replicas)
  step, batch_spec = make_step(strategy)
  return program_lib.stablehlo(step, batch_spec, strategy)


def _load_compiler():
  """Returns the module `ahead_of_time`, whose imports not everyone has."""
  for name in ("jax", "libtpu"):
    if importlib.util.find_spec(name) is None:
      raise UserError(
        f"tpu_compile_only needs {name}: pip install -e '.[tpu-compile]'"
      )
  os.environ.update(_ENVIRONMENT)
  from trainers.tpu import ahead_of_time

  return ahead_of_time
