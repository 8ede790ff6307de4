"""What may stand for a model: of Keras, of TensorFlow, a variable, several."""

from collections.abc import Iterator
from typing import Any

import keras

from lookahead_tf import keras_internals, nesting
from lookahead_tf.backends import backend


def check(model: Any, name: str = "model") -> None:
  """Raises a TypeError unless `model` is what the functions below take.

  Args:
    model: A Keras model or layer, a `tf.Module` that holds some, a variable, or
      a list, tuple or dictionary of these.
    name: Of the argument.
  """
  for member in [*nesting.contents(model)] or [model]:
    if is_of_keras_2(member):
      raise TypeError(
        f"`{name}` must be a model of Keras 3, which `keras` and, without "
        "TF_USE_LEGACY_KERAS, `tf.keras` make. Received one of Keras 2 "
        f"(tf_keras): {name}={member!r}"
      )
    if not (_is_part(member) or _is_module(member)):
      raise TypeError(
        f"`{name}` must be a Keras model, a tf.Module, a variable, or a list "
        f"of these. Received: {name}={member!r} of type "
        f"{type(member).__name__}"
      )


def is_of_keras_2(value: Any) -> bool:
  """Whether `value`, an object or a class, is of tf_keras.

  Keras 2 lives on under that name, and stands behind `tf.keras` where the
  environment variable TF_USE_LEGACY_KERAS is set.
  """
  kind = value if isinstance(value, type) else type(value)
  modules = (base.__module__ for base in kind.__mro__)
  return any(module.split(".")[0] == "tf_keras" for module in modules)


def variables(model: Any) -> list[Any]:
  """Returns the variables of a model, each once."""
  found = [
    variable
    for part in _parts(model)
    for variable in (part.variables if _is_layer(part) else [part])
  ]
  return _unique(found)


def layers(model: Any) -> list[keras.layers.Layer]:
  """Returns the Keras layers of a model and those inside them, each once."""
  return _unique(
    layer
    for part in _parts(model)
    if _is_layer(part)
    for layer in keras_internals.all_layers(part)
  )


def trained_by_keras(model: Any) -> list[keras.Model]:
  """Returns the Keras models in `model` that have a `fit` of their own."""
  return [part for part in _parts(model) if isinstance(part, keras.Model)]


def optimizers(model: Any) -> list[keras.optimizers.Optimizer]:
  """Returns the optimizers that are attributes of a model, each once.

  That is `model.optimizer` of a compiled model, and whatever else a model with
  a `compile` or a training step of its own keeps.
  """
  owners = [
    member
    for member in nesting.contents(model)
    if isinstance(member, keras.layers.Layer) or _is_module(member)
  ]
  return _unique(
    optimizer
    for owner in owners
    for optimizer in nesting.attributes_of_kind(
      owner, keras.optimizers.Optimizer
    )
  )


def _parts(model) -> Iterator[Any]:
  """Yields the outermost layers and the variables that `model` consists of."""
  seen, pending = set(), [model]
  while pending:
    value = pending.pop(0)
    if id(value) in seen:
      continue
    seen.add(id(value))
    if _is_part(value):
      yield value
    elif isinstance(value, dict):
      pending += value.values()
    elif isinstance(value, (list, tuple)):
      pending += value
    elif _is_module(value):
      pending += vars(value).values()


def _is_layer(value):
  return isinstance(value, keras.layers.Layer)


def _is_part(value):
  return _is_layer(value) or backend.is_variable(value)


def _is_module(value):
  # A tf.Module does not find the variables of Keras' layers by itself.
  return hasattr(value, "submodules") and hasattr(value, "variables")


def _unique(values):
  return list({id(value): value for value in values}.values())


def path_of(variable: Any) -> str:
  """Returns the path of a variable of Keras, or the name of a tf.Variable."""
  return getattr(variable, "path", variable.name)
