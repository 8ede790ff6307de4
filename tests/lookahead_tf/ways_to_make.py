"""The ways in which people make a Keras model, for the data of small_model.

`WAYS` holds functions without arguments. Each returns a model that is not
compiled; some have no variables until they are called.
"""

import keras

from tests.lookahead_tf.small_model import INPUTS, OUTPUTS


def _layers():
  hidden = keras.layers.Dense(3, "tanh", use_bias=False)
  return [hidden, keras.layers.Dense(OUTPUTS)]


def _deferred():
  return keras.Sequential(_layers())


def _functional():
  inputs = keras.Input((INPUTS,))
  hidden, output = _layers()
  return keras.Model(inputs, output(hidden(inputs)))


@keras.saving.register_keras_serializable(package="ways_to_make")
class Subclassed(keras.Model):
  def __init__(self, **arguments):
    super().__init__(**arguments)
    self.hidden, self.output_layer = _layers()

  def call(self, x):
    return self.output_layer(self.hidden(x))


@keras.saving.register_keras_serializable(package="ways_to_make")
class OwnVariables(keras.layers.Layer):
  def build(self, shape):
    self.kernel = self.add_weight(shape=(shape[-1], OUTPUTS), name="kernel")
    self.bias = self.add_weight(
      shape=(OUTPUTS,), initializer="zeros", name="bias"
    )

  def call(self, x):
    return x @ self.kernel + self.bias


class ModelWithBuild(keras.Model):
  def build(self, shape):
    self.kernel = self.add_weight(shape=(shape[-1], OUTPUTS), name="kernel")
    super().build(shape)

  def call(self, x):
    return x @ self.kernel


class ModelThatMakesLayersInItsBuild(keras.Model):
  def build(self, shape):
    self.stack = _layers()
    super().build(shape)

  def call(self, x):
    for layer in self.stack:
      x = layer(x)
    return x


def _custom_layer():
  return keras.Sequential([keras.layers.Dense(3), OwnVariables()])


def _nested():
  return keras.Sequential([_deferred(), keras.layers.Dense(OUTPUTS)])


def _built_by_a_call():
  model = _deferred()
  model(keras.ops.zeros((2, INPUTS)))
  return model


def _built():
  model = _deferred()
  model.build((None, INPUTS))
  return model


def _cloned():
  return keras.models.clone_model(_functional())


def _cloned_without_variables():
  return keras.models.clone_model(_deferred())


WAYS = {
  "deferred": _deferred,
  "functional": _functional,
  "subclassed": Subclassed,
  "model_with_build": ModelWithBuild,
  "layers_made_in_build": ModelThatMakesLayersInItsBuild,
  "custom_layer": _custom_layer,
  "nested": _nested,
  "built_by_a_call": _built_by_a_call,
  "built": _built,
  "cloned": _cloned,
  "cloned_without_variables": _cloned_without_variables,
}
