"""A small model with its data, and training by few steps, on any backend."""

import functools

import keras
import numpy as np
import tensorflow as tf
from keras import ops

BATCH_SIZE = 8
INPUTS, OUTPUTS = 4, 2
_rng = np.random.default_rng(0)
X = _rng.normal(size=(12 * BATCH_SIZE, INPUTS)).astype("float32")
Y = np.tanh(X @ _rng.normal(size=(INPUTS, OUTPUTS))).astype("float32")


def batch(step: int) -> tuple[np.ndarray, np.ndarray]:
  """Returns the rows of X and Y for a step: 8 of each."""
  rows = slice(step * BATCH_SIZE, (step + 1) * BATCH_SIZE)
  return X[rows], Y[rows]


@functools.cache
def dataset(steps: int) -> tf.data.Dataset:
  """Returns the first `steps` batches, in order.

  Keras makes a data set of arrays anew for each `fit`, which takes longer.
  """
  rows = steps * BATCH_SIZE
  examples = tf.data.Dataset.from_tensor_slices((X[:rows], Y[:rows]))
  return examples.batch(BATCH_SIZE, drop_remainder=True)


def make(
  optimizer=None,
  *,
  seed: int = 1,
  hidden: int = 0,
  build: bool = True,
  build_optimizer: bool = True,
  **compile_arguments,
) -> keras.Sequential:
  """Returns a model of one Dense layer, or of two with tanh between them.

  Args:
    optimizer: Compiled in with the mean squared error; None for a model that
      is not compiled.
    seed: Gives the initial weights.
    hidden: Units of a first layer, which is named "hidden"; 0 for none.
    build: Whether the model has variables at once.
    build_optimizer: Whether its optimizer has, too: the step is then traced
      once, else twice.
    **compile_arguments: Further arguments of `compile`.
  """
  keras.utils.set_random_seed(seed)
  layers = [keras.Input((INPUTS,))] if build else []
  if hidden:
    layers.append(keras.layers.Dense(hidden, "tanh", name="hidden"))
  model = keras.Sequential([*layers, keras.layers.Dense(OUTPUTS, name="out")])
  if optimizer is not None:
    model.compile(optimizer, **{"loss": "mse", **compile_arguments})
    if build and build_optimizer:
      model.optimizer.build(model.trainable_variables)
  return model


def gradient(weights: list[np.ndarray], step: int) -> list[np.ndarray]:
  """Returns the gradients of the loss of a step."""
  return gradient_of(weights, *batch(step))


def gradient_of(
  weights: list[np.ndarray], x: np.ndarray, y: np.ndarray
) -> list[np.ndarray]:
  """Returns the gradients of the loss on rows by the chain rule in NumPy."""
  kernels, biases = weights[::2], weights[1::2]
  inputs = [x]
  for kernel, bias in zip(kernels[:-1], biases[:-1]):
    inputs.append(np.tanh(inputs[-1] @ kernel + bias))
  error = 2 * (inputs[-1] @ kernels[-1] + biases[-1] - y) / y.size
  gradients = []
  for kernel, layer_input in zip(kernels[::-1], inputs[::-1]):
    gradients = [layer_input.T @ error, error.sum(0), *gradients]
    error = (error @ kernel.T) * (1 - layer_input**2)
  return gradients


def apply(model, optimizer, first, last, change=lambda gradients, step: None):
  """Makes the steps from `first` to before `last` by `optimizer.apply`.

  Args:
    model: From `make`.
    optimizer: Need not be that of the model.
    first: The first step.
    last: The step after the last one.
    change: Is called with the list of gradients, to change it, and the step.
  """
  for step in range(first, last):
    gradients = gradient(values(model.trainable_variables), step)
    change(gradients, step)
    optimizer.apply(tensors(gradients), model.trainable_variables)


def train(model: keras.Model, first: int, last: int) -> None:
  """Makes the steps from `first` to before `last` by `train_on_batch`."""
  for step in range(first, last):
    model.train_on_batch(*batch(step))


def fit(
  model: keras.Model, steps: int, validate: bool = False, **arguments
) -> keras.callbacks.History:
  """Calls `fit` with the first `steps` batches in order.

  Args:
    model: A model that is compiled.
    steps: Steps of an epoch.
    validate: Whether the same batches are the validation data.
    **arguments: Further arguments of `fit`.
  """
  data = dataset(steps)
  if validate:
    arguments["validation_data"] = data
  return model.fit(data, verbose=0, **arguments)


def values(variables) -> list[np.ndarray]:
  """Returns the values of variables, which later assignments leave alone."""
  return [np.array(ops.convert_to_numpy(v)) for v in variables]


def tensors(arrays) -> list:
  """Returns float32 tensors; None for None."""
  return [
    None if a is None else ops.convert_to_tensor(a, "float32") for a in arrays
  ]


def state(model: keras.Model) -> list[np.ndarray]:
  """Returns all that training goes on from."""
  return values(model.variables + model.optimizer.variables)
