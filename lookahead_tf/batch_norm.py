"""Batch normalization with other weights than it was trained with."""

from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from lookahead_tf import models
from lookahead_tf.backends import backend

_WANTED = (
  "`data` must yield batches of inputs, such as a batched tf.data.Dataset or "
  "[x]."
)


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
    TypeError: if `model` is no model of Keras 3, or `data` not iterable.
    ValueError: if `data` holds no batch, or a batch that the model cannot take,
      such as a single example.
  """
  models.check(model)
  _check_iterable(data)
  layers = [layer for layer in _norms(model) if layer.trainable]
  if not layers:
    return
  restore = [backend.snapshot(v) for layer in layers for v in _moving(layer)]
  momenta = [layer.momentum for layer in layers]
  try:
    for layer in layers:
      layer.momentum = 0.0  # The moving averages are those of the last batch.
    sizes, batches = _run(model, data, layers)
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


def _run(model, data, layers):
  """Returns the sizes of the batches, and (mean, variance) by batch, layer."""
  forward = backend.compile_forward(lambda x: model(x, training=True))
  sizes, batches = [], []
  for batch in data:
    x = batch[0] if isinstance(batch, tuple) else batch
    try:
      forward(x)
    except (AttributeError, TypeError, ValueError) as error:
      shapes = [getattr(leaf, "shape", leaf) for leaf in keras.tree.flatten(x)]
      raise ValueError(
        f"{_WANTED} Received a batch of shape {', '.join(map(str, shapes))}, "
        "which the model cannot take."
      ) from error
    sizes.append(keras.tree.flatten(x)[0].shape[0])
    batches.append(
      [[_to_float64(v) for v in _moving(layer)] for layer in layers]
    )
  if not sizes:
    raise ValueError("`data` must hold at least one batch. Received: none.")
  return sizes, batches


def _check_iterable(data):
  """Raises a TypeError for what cannot yield batches, such as a file's name."""
  is_iterable = isinstance(data, Iterable) or hasattr(data, "__getitem__")
  if not is_iterable or isinstance(data, (str, bytes, Mapping)):
    raise TypeError(f"{_WANTED} Received: data={data!r:.100}")


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
