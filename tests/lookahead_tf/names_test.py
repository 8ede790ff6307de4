"""Names of other libraries, misspelt ones, and those of inner optimizers."""

import inspect

import keras
import tensorflow as tf
from absl.testing import parameterized

from lookahead_tf import Lookahead, names
from tests.lookahead_tf import keras_optimizers

_OF_EVERY_OPTIMIZER = ("built", "name")


def _attributes(optimizer):
  """Returns the names of the attributes that a user may assign to."""
  own = {name for name in vars(optimizer) if not name.startswith("_")}
  return sorted({"learning_rate", *own}.difference(_OF_EVERY_OPTIMIZER))


def _make(name):
  return keras_optimizers.CLASSES[name](0.1)


class ArgumentsTest(tf.test.TestCase, parameterized.TestCase):
  def test_the_names_are_those_of_the_signature(self):
    given = [*inspect.signature(Lookahead).parameters]
    self.assertEqual(given[:-1], [*names.ARGUMENTS])

  @parameterized.parameters(
    ("timm", {"base_optimizer": 0, "alpha": 0.5, "k": 6}),
    ("pytorch_optimizer", {"k": 5, "alpha": 0.5, "pullback_momentum": "none"}),
    ("the authors", {"la_steps": 5, "la_alpha": 0.8}),
    ("optax", {"fast_optimizer": 0, "reset_state": True}),
    ("holocron", {"sync_rate": 0.5}),
    ("Ranger21", {"lookahead_mergetime": 5, "lookahead_blending_alpha": 0.5}),
    ("keras-lookahead", {"slow_step": 0.5}),
    ("bert4keras", {"steps_per_slow_update": 5}),
    ("others", {"sync_every": 5, "slow_update_rate": 0.5, "lr": 0.1}),
    ("misspelt", {"slow_stepsize": 0.5, "sync_perod": 5, "innerstate": 0}),
  )
  def test_each_is_told_with_its_value_and_what_it_is_here(
    self, library, given
  ):
    ours = {
      "alpha": "slow_step_size",
      "base_optimizer": "inner_optimizer",
      "fast_optimizer": "inner_optimizer",
      "innerstate": "inner_state",
      "k": "sync_period",
      "la_alpha": "slow_step_size",
      "la_steps": "sync_period",
      "lookahead_blending_alpha": "slow_step_size",
      "lookahead_mergetime": "sync_period",
      "lr": "learning_rate",
      "pullback_momentum": "inner_state",
      "reset_state": "inner_state",
      "slow_step": "slow_step_size",
      "slow_stepsize": "slow_step_size",
      "slow_update_rate": "slow_step_size",
      "steps_per_slow_update": "sync_period",
      "sync_every": "sync_period",
      "sync_perod": "sync_period",
      "sync_rate": "slow_step_size",
    }
    with self.assertRaises(TypeError) as caught:
      Lookahead("sgd", **given)
    for name, value in given.items():
      self.assertRegex(
        str(caught.exception), f"`{name}` [^;]*`{ours[name]}`", library
      )
      self.assertIn(f"{name}={value!r}", str(caught.exception))

  def test_arguments_of_the_inner_optimizer(self):
    with self.assertRaisesRegex(TypeError, r"Adam\(clipnorm=.*clipnorm=1\.5"):
      Lookahead("adam", clipnorm=1.5)

  def test_a_name_like_no_other(self):
    with self.assertRaisesRegex(TypeError, "`foo` .*sync_period.*foo=3"):
      Lookahead("sgd", foo=3)


class AttributesTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.parameters(*keras_optimizers.CLASSES)
  def test_those_of_the_inner_optimizer_reach_it(self, name):
    for attribute in _attributes(_make(name)):
      inner = _make(name)
      optimizer = Lookahead(Lookahead(inner))
      setattr(optimizer, attribute, 0.25)
      self.assertEqual(getattr(inner, attribute), 0.25, attribute)
      self.assertEqual(getattr(optimizer, attribute), 0.25, attribute)

  def test_those_of_any_optimizer_reach_the_inner_one_or_are_refused(self):
    for attribute in {
      x for name in keras_optimizers.CLASSES for x in _attributes(_make(name))
    }:
      inner = keras.optimizers.SGD(0.1)
      optimizer = Lookahead(inner)
      if attribute in _attributes(inner):
        setattr(optimizer, attribute, 0.25)
        self.assertEqual(getattr(inner, attribute), 0.25, attribute)
      else:
        with self.assertRaisesRegex(AttributeError, f"`{attribute}`.*SGD"):
          setattr(optimizer, attribute, 0.25)
        self.assertFalse(hasattr(optimizer, attribute))

  def test_around_several_optimizers(self):
    keras_optimizers.require(self, "MultiOptimizer")
    for attribute in _attributes(_make("SGD")):
      inner = _make("SGD")
      several = keras.optimizers.MultiOptimizer(lambda _, inner=inner: inner)
      optimizer = Lookahead(several)
      if attribute == "loss_scale_factor":  # Keras passes it on.
        setattr(optimizer, attribute, 0.25)
        optimizer.build([keras.Variable(1.0)])
        self.assertEqual(inner.loss_scale_factor, 0.25)
      else:
        with self.assertRaises(AttributeError):
          setattr(optimizer, attribute, 0.25)

  def test_momentum_that_is_assigned_acts(self):
    variable = keras.Variable(0.0)
    optimizer = Lookahead(keras.optimizers.SGD(1.0), 10)
    optimizer.momentum = 0.5
    for _ in range(2):
      optimizer.apply([tf.constant(1.0)], [variable])
    self.assertAllClose(variable, -2.5)

  @parameterized.parameters(
    ("Adam", "use_ema", True),
    ("Adam", "amsgrad", True),
    ("SGD", "gradient_accumulation_steps", 2),
    ("SGD", "momentum", 0.9),
    ("RMSprop", "centered", True),
  )
  def test_what_needs_variables_comes_too_late_after_the_build(
    self, name, attribute, value
  ):
    optimizer = Lookahead(_make(name))
    optimizer.build([keras.Variable([1.0])])
    with self.assertRaisesRegex(AttributeError, f"{attribute}={value}"):
      setattr(optimizer, attribute, value)
    setattr(optimizer, attribute, getattr(optimizer, attribute))
    optimizer.apply([tf.ones(1)])

  @parameterized.parameters(
    ("k", "sync_period"),
    ("alpha", "slow_step_size"),
    ("slow_stepsize", "slow_step_size"),
    ("clip_norm", "clipnorm"),
    ("lr", "learning_rate"),
    ("exclude", "exclude"),
    ("foo", "foo"),
  )
  def test_others_are_refused_with_what_is_meant(self, name, meant):
    optimizer = Lookahead("adam")
    with self.assertRaisesRegex(AttributeError, f"`{name}`.*{meant}|`{meant}`"):
      setattr(optimizer, name, 0.5)
    with self.assertRaisesRegex(AttributeError, f"`{name}`"):
      getattr(optimizer, name)

  def test_a_subclass_has_attributes_of_its_own(self):
    class Subclass(Lookahead):
      def __init__(self, *arguments):
        super().__init__(*arguments)
        self.momentum = "its own"

    optimizer = Subclass("sgd")
    self.assertEqual(optimizer.momentum, "its own")
    self.assertEqual(optimizer.inner_optimizer.momentum, 0.0)


class RenamedTest(parameterized.TestCase):
  @parameterized.parameters(
    ("reset_slow_weights", "start_period"),
    ("return_slow_weights", "finish_training"),
    ("restore_fast_weights", "end_evaluation"),
  )
  def test_methods_of_0_1_0_go_on_working(self, old, new):
    called = []

    class Subclass(Lookahead):
      pass

    setattr(Subclass, new, lambda self: called.append(self))
    optimizer = Subclass("sgd")
    with self.assertWarnsRegex(DeprecationWarning, f"`{old}`.*`{new}`"):
      getattr(optimizer, old)()
    self.assertEqual(called, [optimizer])


if __name__ == "__main__":
  tf.test.main()
