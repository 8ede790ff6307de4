"""What lookahead_tf uses of Keras' insides, and that it does so in one file."""

import ast
import functools
import pathlib
import re

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import lookahead_tf
from lookahead_tf import Lookahead, keras_internals
from tests.lookahead_tf import keras_optimizers, small_model
from tests.lookahead_tf.test_case import TestCase

_PACKAGE = pathlib.Path(lookahead_tf.__file__).parent
_PRIVATE = re.compile(r"_[a-z]\w*")
# Members without an underscore that are in no documentation of Keras.
_UNDOCUMENTED = {"jax_state_sync", "overwrite_with_gradient", "train_function"}


@functools.cache
def _private_members():
  """Returns the names of the members that Keras' own objects hide."""
  inner = keras.optimizers.SGD(
    momentum=0.9, use_ema=True, gradient_accumulation_steps=2
  )
  adam = keras.optimizers.Adam(amsgrad=True)
  model = small_model.make(inner, hidden=3)
  small_model.train(model, 0, 1)
  adam.build(model.trainable_variables)
  objects = [
    *(inner, adam, keras.optimizers.LossScaleOptimizer(adam)),
    *(model, model.layers[0], model.weights[0], keras.callbacks.Callback()),
  ]
  return {n for x in objects for n in dir(x) if _PRIVATE.fullmatch(n)}


def _names(tree):
  """Yields (node, name) for all that may name a member in a syntax tree."""
  for node in ast.walk(tree):
    if isinstance(node, ast.Attribute):
      yield node, node.attr
    elif isinstance(node, ast.FunctionDef):
      yield node, node.name
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
      yield node, node.value


def _is_of_self(node):
  return isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")


def _own_names(tree):
  """Returns the names with an underscore that a file itself gives."""
  return {
    name
    for node, name in _names(tree)
    if isinstance(node, ast.FunctionDef)
    or (isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store))
  }


def _uses(text, private):
  """Returns the names of Keras' members that a file touches."""
  tree = ast.parse(text)
  own = _own_names(tree)
  return {
    name
    for node, name in _names(tree)
    if name in _UNDOCUMENTED | private
    or (
      isinstance(node, ast.Attribute)
      and _PRIVATE.fullmatch(name)
      and name not in own
      and not _is_of_self(node)
    )
  }


class OneFileTest(TestCase):
  def test_no_other_file_touches_them(self):
    private = _private_members()
    self.assertIn("_trainable_variables", private)
    paths = sorted(_PACKAGE.rglob("*.py"))
    self.assertGreater(len(paths), 20)
    found = {p.name: _uses(p.read_text(), private) for p in paths}
    users = {name: names for name, names in found.items() if names}
    self.assertEqual([*users], ["keras_internals.py"], users)
    self.assertContainsSubset({"_iterations", "_value"}, *users.values())

  @parameterized.parameters(
    "optimizer._iterations",
    "self._iterations",
    "getattr(optimizer, '_velocities')",
    "vars(optimizer)['_variables']",
    "model.train_function = None",
    "something._of_a_later_keras",
    "def _get_variable_index(self): pass",
  )
  def test_it_would_be_found(self, text):
    self.assertLen(_uses(text, _private_members()), 1)

  @parameterized.parameters(
    "self._period", "def _f(x): return x._y\nself._y = 1", "'_'", "x.__dict__"
  )
  def test_ones_own_is_not(self, text):
    self.assertEmpty(_uses(text, _private_members()))


def _variables():
  return [keras.Variable([1.0, 2.0], name="a"), keras.Variable([3.0], name="b")]


def _built(optimizer):
  optimizer.build(_variables())
  return optimizer


class Empty:
  """Has no members, as an object of another Keras."""


class OptimizersTest(TestCase):
  def test_built_variables(self):
    variables, optimizer = _variables(), keras.optimizers.SGD()
    self.assertEmpty(keras_internals.built_variables(optimizer))
    optimizer.build(variables)
    for found, v in zip(keras_internals.built_variables(optimizer), variables):
      self.assertIs(found, v)

  def test_index_of(self):
    variables, optimizer = _variables(), keras.optimizers.SGD()
    optimizer.build(variables)
    self.assertEqual(keras_internals.index_of(optimizer, variables[1]), 1)
    if keras.backend.backend() == "tensorflow":  # Of one replica.
      part = variables[1].value
      self.assertEqual(keras_internals.index_of(optimizer, part), 1)
    with self.assertRaises(KeyError):
      keras_internals.index_of(optimizer, _variables()[1])

  def test_index_of_in_a_keras_without_it(self):
    other = Empty()
    other._trainable_variables = _variables()
    last = other._trainable_variables[-1]
    self.assertEqual(keras_internals.index_of(other, last), 1)
    with self.assertRaises(KeyError):
      keras_internals.index_of(other, keras.Variable(0.0))

  @parameterized.parameters(
    (keras_internals.built_variables, "Empty._trainable_variables"),
    (keras_internals.counter, "Empty._iterations"),
    (keras_internals.all_layers, "Empty._flatten_layers"),
    (keras_internals.compile_arguments, "Empty._compile_config"),
  )
  def test_a_keras_without_what_is_needed(self, function, name):
    with self.assertRaisesRegex(
      NotImplementedError, f"{name}.*{keras.__version__}"
    ):
      function(Empty())

  def test_counter_counts_calls(self):
    optimizer = keras.optimizers.SGD(gradient_accumulation_steps=2)
    variables = _variables()
    for _ in range(3):
      optimizer.apply([v * 0 for v in variables], variables)
    self.assertEqual(int(keras_internals.counter(optimizer).numpy()), 3)
    self.assertEqual(int(optimizer.iterations), 1)

  def test_count_on_each_replica(self):
    optimizer = keras.optimizers.SGD()
    keras_internals.count_on_each_replica(optimizer)
    self.assertEqual(keras_internals.counter(optimizer).aggregation, "none")
    optimizer.iterations.assign(3)
    self.assertEqual(int(optimizer.iterations), 3)
    other = Empty()
    other._iterations = Empty()
    keras_internals.count_on_each_replica(other)  # It stays as it is.

  def test_slot_lists(self):
    adam = _built(keras.optimizers.Adam(use_ema=True, amsgrad=True))
    paths = [
      [v.path for v in slots] for slots in keras_internals.slot_lists(adam)
    ]
    self.assertLen(paths, 3)
    for kind, slots in zip(("momentum", "velocity", "velocity_hat"), paths):
      for path, name in zip(slots, "ab"):
        self.assertEndsWith(path, f"{name}_{kind}")

  def test_slots_of_a_lookahead_are_not_its_slow_weights(self):
    lookahead = _built(Lookahead("sgd"))
    self.assertEmpty([*keras_internals.slot_lists(lookahead)])

  @parameterized.parameters(*keras_internals.SECOND_MOMENTS)
  def test_second_moment(self, name):
    keras_optimizers.require(self, name)
    optimizer, variables = keras_optimizers.CLASSES[name](), _variables()
    self.assertIsNotNone(keras_internals.second_moment(optimizer))
    optimizer.apply([keras.ops.ones_like(v) * 2 for v in variables], variables)
    moments, decay = keras_internals.second_moment(optimizer)
    for moment, variable in zip(moments, variables):  # Of a gradient of 2.
      self.assertAllClose(moment, np.full(variable.shape, 4 * (1 - decay)))

  def test_no_second_moment(self):
    self.assertIsNone(keras_internals.second_moment(keras.optimizers.SGD()))

  def test_legacy_slots(self):
    adam = _built(keras.optimizers.Adam())
    slots = keras_internals.legacy_slots(adam)
    self.assertEqual({*slots}, {"m", "v", "vhat"})
    self.assertEmpty(slots["vhat"])
    self.assertRegex(slots["v"][1].path, "b_velocity$")
    self.assertIsNone(keras_internals.legacy_slots(keras.optimizers.Lion()))

  @parameterized.parameters(*keras_internals.LEGACY_OPTIMIZERS)
  def test_legacy_slots_of_each_kind(self, name):
    options = {
      "Adam": {"amsgrad": True},
      "RAdam": {"amsgrad": True},
      "RMSprop": {"momentum": 0.9, "centered": True},
      "SGD": {"momentum": 0.9},
    }
    optimizer = keras_optimizers.CLASSES[name](**options.get(name, {}))
    for variables in keras_internals.legacy_slots(_built(optimizer)).values():
      self.assertLen(variables, 2)

  def test_moving_averages(self):
    sgd = _built(keras.optimizers.SGD(use_ema=True))
    averages = keras_internals.moving_averages(sgd)
    self.assertEqual([tuple(v.shape) for v in averages], [(2,), (1,)])
    self.assertEmpty(keras_internals.moving_averages(Empty()))
    shown = keras_internals.moving_averages(Lookahead(sgd))
    self.assertIs(shown[0], averages[0])


class VariablesTest(TestCase):
  def test_has_value(self):
    variable = keras.Variable(1.0)
    self.assertTrue(keras_internals.has_value(variable))
    variable._value = None
    self.assertFalse(keras_internals.has_value(variable))
    self.assertTrue(keras_internals.has_value(Empty()))

  def test_is_set_by_gradient(self):
    variable = keras.Variable(1.0)
    self.assertFalse(keras_internals.is_set_by_gradient(variable))
    variable.overwrite_with_gradient = True
    self.assertTrue(keras_internals.is_set_by_gradient(variable))
    self.assertFalse(keras_internals.is_set_by_gradient(Empty()))

  @parameterized.parameters(None, "layout")
  def test_add_copy_with_a_layout(self, layout):
    given, variable = {}, Empty()

    class Optimizer:
      def add_variable(self, shape, layout=None):
        given.update(shape=shape, layout=layout)

    if layout is not None:
      variable._layout = layout
    keras_internals.add_copy(Optimizer(), variable, shape=(2,))
    self.assertEqual(given, {"shape": (2,), "layout": layout})

  def test_add_copy_in_a_keras_whose_optimizers_take_no_layout(self):
    class Optimizer:
      def add_variable(self, shape):
        return keras.Variable(np.ones(shape))

    variable = Empty()
    variable._layout = None if keras.backend.backend() == "jax" else "layout"
    found = keras_internals.add_copy(Optimizer(), variable, shape=(2,))
    self.assertEqual(getattr(found, "_layout", None), variable._layout)
    self.assertAllEqual(found, [1.0, 1.0])


class ModelsTest(TestCase):
  def test_all_layers(self):
    inner = keras.Sequential([keras.layers.Dense(1, name="deep")])
    model = keras.Sequential([inner])
    names = [layer.name for layer in keras_internals.all_layers(model)]
    self.assertEqual(names, [model.name, inner.name, "deep"])

  def test_compile_arguments(self):
    def loss(y, prediction):
      return keras.ops.mean(y - prediction)

    model = small_model.make("sgd", loss=loss, metrics=["mae"])
    arguments = keras_internals.compile_arguments(model)
    self.assertIs(arguments["loss"], loss)
    self.assertEqual(arguments["metrics"], ["mae"])

  def test_training_function(self):
    model = small_model.make("sgd")
    self.assertIsNone(keras_internals.training_function(model))
    self.assertIsNone(keras_internals.training_function(Empty()))

    def refuse(*arguments):
      raise ArithmeticError

    keras_internals.set_training_function(model, refuse)
    self.assertIs(keras_internals.training_function(model), refuse)
    for train in (
      lambda: small_model.fit(model, 1),
      lambda: small_model.train(model, 0, 1),
    ):
      with self.assertRaises(ArithmeticError):
        train()

  def test_read_state(self):
    model, calls = Empty(), []
    keras_internals.read_state(model)  # Nothing to read.
    model.jax_state_sync = lambda: calls.append(1)
    keras_internals.read_state(model)
    self.assertLen(calls, 1)


if __name__ == "__main__":
  tf.test.main()
