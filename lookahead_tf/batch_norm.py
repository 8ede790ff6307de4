"""Batch normalization with other weights than it was trained with."""

from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from lookahead_tf import models
from lookahead_tf.backends import backend


def statistics(model: Any) -> list[Any]:
  """Returns the moving means and variances of `model`, a list of variables."""
  return [v for layer in _norms(model) for v in _moving(layer)]


def recompute_batch_norm(model: keras.Model, data: Iterable[Any]) -> None:
  """Recomputes the moving means and variances over a data set.

  While training they follow the fast weights. For the slow weights:

  ```python
  with lookahead_tf.slow_weights(model):
    lookahead_tf.recompute_batch_norm(model, train_dataset.take(100))
    model.evaluate(x, y)
  ```

  The model runs on each batch as in training (with dropout, if it has any), and
  afterwards each layer has the mean and the variance over all examples: the
  mean of the batches' variances plus the variance of their means, weighted by
  the batches' sizes. Layers that are not trainable are left as they are. After
  a `slow_weights` block the statistics are again those from before it.

  Args:
    model: A model, built.
    data: Batches: inputs of the model, or tuples whose first element they are.
      A `tf.data.Dataset`, a `keras.utils.PyDataset` or any other iterable that
      ends.

  Raises:
    TypeError: if `model` is no model of Keras 3, or if `data` is no iterable.
    ValueError: if `data` holds no batch, or what is no batch of the model's
      inputs, such as single examples.
  """
  models.check(model)
  taken = _shape_taken(model)
  _check_data(data, taken)
  layers = [layer for layer in _norms(model) if layer.trainable]
  if not layers:
    return
  restore = [backend.snapshot(v) for layer in layers for v in _moving(layer)]
  momenta = [layer.momentum for layer in layers]
  try:
    for layer in layers:
      layer.momentum = 0.0  # The moving averages are those of the last batch.
    sizes, batches = _run(model, data, taken, layers)
  except BaseException:
    for function in restore:
      function()
    raise
  finally:
    for layer, momentum in zip(layers, momenta):
      layer.momentum = momentum
  for layer, batch in zip(layers, zip(*batches)):
    for variable, value in zip(_moving(layer), _pool(sizes, batch)):
      variable.assign(value)


def _run(model, data, taken, layers):
  """Returns the sizes of the batches, and (mean, variance) by batch, layer."""
  forward = backend.compile_forward(lambda x: model(x, training=True))
  sizes, batches = [], []
  for batch in data:
    x = _inputs(batch)
    _check_batch(x, taken)
    forward(x)
    sizes.append(keras.tree.flatten(x)[0].shape[0])
    batches.append(
      [[_to_float64(v) for v in _moving(layer)] for layer in layers]
    )
  if not sizes:
    raise ValueError("`data` must hold at least one batch. Received: none.")
  return sizes, batches


def _inputs(batch):
  return batch[0] if isinstance(batch, tuple) and batch else batch


def _shape_taken(model):
  """Returns the shape of a batch of inputs, None if there are several.

  Of a model that is not made of layers alone it is None too, or has the right
  rank only: such a model may take other sizes than those it was built with.
  """
  if not isinstance(model, keras.layers.Layer):
    return None
  inputs = getattr(model, "inputs", None)
  if isinstance(inputs, list) and inputs:
    return tuple(inputs[0].shape) if len(inputs) == 1 else None
  shape = (model.get_build_config() or {}).get("input_shape")
  is_one = isinstance(shape, (list, tuple)) and all(
    size is None or isinstance(size, int) for size in shape
  )
  return (None,) * len(shape) if is_one else None


def _check_data(data, taken):
  """Raises an error unless `data` may yield batches of a shape."""
  if hasattr(data, "__array__"):
    shape = tuple(data.shape)
    if taken is None or len(shape) != len(taken) + 1:
      raise _no_batches(ValueError, f"an array of shape {shape}")
  elif isinstance(data, (str, bytes, Mapping)) or not (
    isinstance(data, Iterable) or hasattr(data, "__getitem__")
  ):
    raise _no_batches(
      TypeError,
      repr(data)
      if data is None or isinstance(data, (str, bytes))
      else f"an object of type {type(data).__name__}",
    )
  if isinstance(data, tuple):
    _check_tuple(data, taken)
  if isinstance(data, (list, tuple)):
    for batch in data:
      _check_batch(_inputs(batch), taken)


def _check_tuple(data, taken):
  """Raises a ValueError for (x, y), as `fit` takes it, in place of batches."""
  shapes = [tuple(x.shape) for x in data if hasattr(x, "__array__")]
  is_for_fit = (
    len(shapes) == len(data) in (2, 3)
    and () not in shapes
    and len({shape[0] for shape in shapes}) == 1
    and len(set(shapes)) > 1
  )
  have_one_rank = len(set(map(len, shapes))) == 1
  may_be_batches = (
    have_one_rank
    and taken is not None
    and any(taken)
    and all(_fits(shape, taken) for shape in shapes)
  )
  if is_for_fit and not may_be_batches:
    received = ", ".join(map(str, shapes))
    raise _no_batches(ValueError, f"a tuple of arrays of shapes {received}")


def _check_batch(x, taken):
  """Raises a ValueError unless `x` may be a batch of a shape."""
  leaves = keras.tree.flatten(x)
  shapes = [tuple(leaf.shape) for leaf in leaves if hasattr(leaf, "shape")]
  if not shapes:
    raise _no_batches(ValueError, f"a batch of type {type(x).__name__}")
  is_one = taken is not None and not isinstance(x, Mapping)
  is_of_several = is_one and any(taken) and len(shapes) > 1
  if is_of_several or not _fits(shapes[0], taken if is_one else None):
    received = "shape" if len(shapes) == 1 else "arrays of shapes"
    received += f" {', '.join(map(str, shapes))}"
    if is_one:
      received += f", where the model takes {taken}"
    raise _no_batches(ValueError, f"a batch of {received}")


def _fits(shape, taken):
  """Whether an array may be what a model takes, up to a last axis of size 1."""
  if taken is None:
    return bool(shape)
  if not any(taken):  # The rank alone is known.
    return bool(shape) and len(shape) != len(taken) - 1
  if len(shape) == len(taken) + 1 and shape[-1] == 1:
    shape = shape[:-1]
  elif len(shape) == len(taken) - 1 and taken[-1] == 1:
    shape = (*shape, 1)
  return len(shape) == len(taken) and all(
    None in (size, wanted) or size == wanted
    for size, wanted in zip(shape[1:], taken[1:])
  )


def _no_batches(kind, received):
  return kind(
    "`data` must yield batches of inputs, such as a batched tf.data.Dataset or "
    f"[x]. Received: {received}."
  )


def _pool(sizes, moments):
  """Returns mean and variance over all batches from those of each."""
  means, variances = (np.array(m) for m in zip(*moments))
  mean = np.average(means, 0, sizes)
  variance = np.average(variances + (means - mean) ** 2, 0, sizes)
  return mean, variance


def _norms(model):
  return [
    layer
    for layer in models.layers(model)
    if isinstance(layer, keras.layers.BatchNormalization) and layer.built
  ]


def _moving(layer):
  return layer.moving_mean, layer.moving_variance


def _to_float64(variable):
  return ops.convert_to_numpy(variable).astype("float64")
