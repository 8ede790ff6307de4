"""The training step of Keras' `fit` on JAX, compiled for TPUs without one.

Importing this takes JAX, the backend of Keras that it is for.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import keras
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from trainers.errors import UserError
from trainers.tpu import compile_only
from trainers.tpu.report import Result

_BATCH = "batch"  # The name of the one dimension of devices.


def report(
  model: keras.Model,
  batch: Any,
  slices: Sequence[str],
  inner_model: keras.Model | None = None,
  unit: str = "examples",
) -> int:
  """Compiles the step of `fit` for TPU slices and prints what it would take.

  The row of a program is printed as soon as the program is compiled.

  Args:
    model: As in `compile_fit`.
    batch: As in `compile_fit`.
    slices: As in `compile_fit`.
    inner_model: As in `compile_fit`.
    unit: What an example is called.

  Returns:
    The exit status: 0, or 1 if there is a slice for which the step does not
    compile, does not fit or cannot be made.

  Raises:
    UserError: as `compile_fit`, or if the step cannot be made for any slice.
  """
  results = compile_fit(model, batch, slices, inner_model)
  return compile_only.print_results(results, _batch_size(batch), unit)


def compile_fit(
  model: keras.Model,
  batch: Any,
  slices: Sequence[str],
  inner_model: keras.Model | None = None,
) -> Iterator[Result]:
  """Compiles the training step of Keras' `fit` on JAX, with a progress bar.

  Nothing is run: it shows that operations, shapes and collectives are such as
  TPUs have, and that memory suffices. The step is spread over the devices as by
  `keras.distribution`: as by the distribution that is set, whose devices (of
  the CPU) stand for those of the slice in the same order; as by DataParallel if
  none is set.

  Args:
    model: A compiled model. What of it is not built yet is built, and nothing
      else changes.
    batch: A global batch as `fit` takes it from a data set: an input, (x, y) or
      (x, y, sample_weight), each a tree of arrays, or of anything with a shape
      and a dtype, such as `keras.KerasTensor`.
    slices: Names of TPU slices, keys of `chips.SLICES`.
    inner_model: The same model compiled with the inner optimizer alone, to see
      what Lookahead adds; or None.

  Yields:
    For each slice the result of the step; then, if the step compiled and there
    is `inner_model`, that of both.

  Raises:
    UserError: if there is no such slice, if the extra is not installed, if the
      backend of Keras is not JAX, or if a model is not compiled, or not so that
      `fit` compiles the step by XLA.
  """
  if keras.backend.backend() != "jax":
    raise UserError(
      "compile_fit compiles the step of Keras on JAX: set KERAS_BACKEND=jax. "
      f"Received: the backend {keras.backend.backend()}"
    )
  for each in (model, inner_model):
    if each is not None:
      _check(each)
  yield from compile_only.compile_programs(
    _compiler_of(model, batch),
    inner_model and _compiler_of(inner_model, batch),
    slices,
  )


def _check(model):
  if getattr(model, "optimizer", None) is None:
    raise UserError(
      f"compile_fit needs a compiled model: call compile(). Received: {model!r}"
    )
  if model.run_eagerly or not model.jit_compile:
    raise UserError(
      "compile_fit needs a model whose step `fit` compiles. Received: compile("
      f"run_eagerly={model.run_eagerly}, jit_compile={model.jit_compile})"
    )


def _compiler_of(model, batch):
  """Returns a function as `compile_only.compile_programs` takes it."""

  def compile_for(compiler, devices):
    return compiler.compile_lowered(_lower(model, batch, devices))

  return compile_for


def _lower(model, batch, devices):
  """Returns the step that `make_train_function` jits, lowered for `devices`."""
  mesh = _mesh(devices)
  data = jax.tree.map(lambda array: _data(array, mesh), batch)
  # Builds the model, its metrics and its optimizer, as `fit` does at its start:
  # Keras has no public way to build the metrics but a step.
  model._symbolic_build(data_batch=data)
  state = tuple(
    [_variable(v, mesh) for v in variables]
    for variables in (
      model.trainable_variables,
      model.non_trainable_variables,
      model.optimizer.variables,
      model.metrics_variables,
    )
  )
  layouts = jax.tree.map(lambda value: value.sharding, state)
  step = jax.jit(
    model.train_step, donate_argnums=0, out_shardings=(None, layouts)
  )
  try:
    return step.lower(state, data)
  except ValueError as error:
    if "sharding_constraint" not in str(error):
      raise
    raise UserError(
      "The LayoutMap of keras.distribution has layouts of the outputs of "
      "layers, which are for this machine's devices: leave them out, so that "
      "the compiler chooses."
    ) from error


def _mesh(devices):
  """Returns devices of a slice in the order of `keras.distribution`."""
  distribution = keras.distribution.distribution()
  if distribution is None:
    return Mesh(np.array(devices), (_BATCH,))
  grid = distribution.device_mesh
  if math.prod(grid.shape) != len(devices):
    raise UserError(
      f"The slice has {len(devices)} devices, but the device_mesh of "
      f"keras.distribution has {math.prod(grid.shape)}: {grid.shape}"
    )
  return Mesh(np.array(devices).reshape(grid.shape), grid.axis_names)


def _data(array, mesh):
  """Returns shape, dtype and place of a part of the batch."""
  distribution = keras.distribution.distribution()
  if distribution is None:
    parts = PartitionSpec(_BATCH)
  else:
    parts = PartitionSpec(*distribution.get_data_layout(array.shape).axes)
  replicas = mesh.shape[parts[0]] if parts[0] else 1
  if array.shape[0] % replicas:
    raise UserError(
      f"A global batch of {array.shape[0]} is no multiple of {replicas}, the "
      "parts that the devices of the slice take of it."
    )
  # Of arrays of 64 bits JAX makes ones of 32.
  dtype = jax.dtypes.canonicalize_dtype(
    keras.backend.standardize_dtype(array.dtype)
  )
  sharding = NamedSharding(mesh, parts)
  return jax.ShapeDtypeStruct(array.shape, dtype, sharding=sharding)


def _variable(variable, mesh):
  """Returns shape, dtype and place of a variable."""
  value = variable.value
  placed = value.sharding
  parts = placed.spec if isinstance(placed, NamedSharding) else PartitionSpec()
  return jax.ShapeDtypeStruct(
    value.shape, value.dtype, sharding=NamedSharding(mesh, parts)
  )


def _batch_size(batch):
  return jax.tree.leaves(batch)[0].shape[0]
