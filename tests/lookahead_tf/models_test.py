"""What may stand for a model, and the sentence for what may not."""

import types

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import lookahead_tf
from lookahead_tf import Lookahead, models
from tests.lookahead_tf.small_model import values
from tests.lookahead_tf.test_case import TestCase


def _network(units):
  return keras.Sequential(
    [
      keras.Input((3,)),
      keras.layers.BatchNormalization(),
      keras.layers.Dense(units),
    ]
  )


class Module(tf.Module):
  """Holds networks and a variable, as people do it."""

  def __init__(self):
    super().__init__()
    self.encoder = _network(3)
    self.others = {"decoder": [_network(2)]}
    self.loss_weight = tf.Variable(1.0, name="loss_weight")
    self.parent = self  # No reason to look for ever.


def _make_keras_2(name, *bases):
  """Returns a class as tf_keras has them, which is not installed here."""
  return types.new_class(
    name, bases, exec_body=lambda d: d.update(__module__="tf_keras.src.x")
  )


class SlowWeightsOfManyThingsTest(TestCase):
  def setUp(self):
    super().setUp()
    keras.utils.set_random_seed(1)
    self.module = Module()
    self.encoder = self.module.encoder
    self.decoder = self.module.others["decoder"][0]
    self.loss_weight = self.module.loss_weight
    self.trained = [
      *self.encoder.trainable_variables,
      *self.decoder.trainable_variables,
      self.loss_weight,
    ]
    self.lookahead = Lookahead(keras.optimizers.SGD(0.1), 5)
    for _ in range(2):
      self.lookahead.apply(
        [tf.ones_like(v) for v in self.trained], self.trained
      )

  @parameterized.parameters(
    lambda self: self.encoder,
    lambda self: self.encoder.layers[1],
    lambda self: [self.encoder, self.decoder],
    lambda self: (self.decoder, self.loss_weight),
    lambda self: {"encoder": self.encoder, "decoder": self.decoder},
    lambda self: self.module,
    lambda self: self.loss_weight,
    lambda self: self.encoder.trainable_variables,
  )
  def test_all_that_the_optimizer_trains_is_swapped(self, choose):
    fast, slow = values(self.trained), values(self.lookahead.slow_weights)
    self.assertNotAllClose(fast[-1], slow[-1])
    model = choose(self)
    with lookahead_tf.slow_weights(model, self.lookahead) as inside:
      self.assertIs(inside, model)
      self.assertSame(self.trained, slow)
    self.assertSame(self.trained, fast)

  def test_an_optimizer_that_is_an_attribute_of_a_module(self):
    self.module.optimizer = self.lookahead
    with lookahead_tf.slow_weights(self.module):
      self.assertAllClose(self.loss_weight, 1.0)
    self.assertAllClose(self.loss_weight, 0.8)

  def test_statistics_come_back(self):
    layers = models.layers(self.module)
    norms = [
      x for x in layers if isinstance(x, keras.layers.BatchNormalization)
    ]
    self.assertLen(norms, 2)
    with lookahead_tf.slow_weights(self.module, self.lookahead):
      for norm in norms:
        norm.moving_mean.assign(np.ones(3))
    for norm in norms:
      self.assertAllEqual(norm.moving_mean, np.zeros(3))

  def test_a_model_that_shares_nothing(self):
    for other in (_network(2), [_network(2)], tf.Variable(1.0)):
      with self.assertRaisesRegex(ValueError, "model=.*(Sequential|Variable)"):
        lookahead_tf.slow_weights(other, self.lookahead).__enter__()

  def test_variables_of_a_module_each_once(self):
    found = models.variables([self.module, self.encoder])
    self.assertLen({id(v) for v in found}, len(found))
    self.assertLen(found, 2 * 6 + 1)

  @parameterized.parameters(3, "model", None, lambda x: x)
  def test_no_model(self, value):
    for model in (value, [value], {"model": value}, np.zeros(3), []):
      with self.assertRaisesRegex(TypeError, "`model`.*model="):
        lookahead_tf.slow_weights(model, self.lookahead).__enter__()


class ExcludeVariablesTest(TestCase):
  @parameterized.parameters(False, True)
  def test_a_variable_of_tensorflow(self, is_alone):
    kernel, scale = keras.Variable(1.0), tf.Variable(1.0, name="scale")
    optimizer = Lookahead(
      keras.optimizers.SGD(1.0), 1, exclude=scale if is_alone else [scale]
    )
    optimizer.apply([tf.constant(1.0)] * 2, [kernel, scale])
    self.assertAllClose([kernel, scale], [0.5, 0.0])
    self.assertIsNone(optimizer.slow_weights[1])
    again = Lookahead.from_config(optimizer.get_config())
    again.build([kernel, scale])
    self.assertIsNone(again.slow_weights[1])
    self.assertIsNotNone(again.slow_weights[0])


class Keras2Test(TestCase):
  def test_optimizer(self):
    kind = _make_keras_2("Adam")
    for value in (kind(), kind, _make_keras_2("Own", kind)()):
      with self.assertRaisesRegex(TypeError, "of Keras 3.*of Keras 2"):
        Lookahead(value)

  def test_model(self):
    # A model of Keras 2 is a tf.Module, and has variables.
    model = _make_keras_2("Sequential", tf.Module)()
    calls = (
      lambda: lookahead_tf.slow_weights(model, Lookahead("sgd")).__enter__(),
      lambda: lookahead_tf.slow_weights([model]).__enter__(),
      lambda: lookahead_tf.recompute_batch_norm(model, []),
      lambda: lookahead_tf.wrap_optimizer(model),
      lambda: lookahead_tf.unwrap_optimizer(model),
      lambda: lookahead_tf.load_tfa_checkpoint("nowhere", model),
    )
    for call in calls:
      with self.assertRaisesRegex(TypeError, "of Keras 3.*of Keras 2"):
        call()


if __name__ == "__main__":
  tf.test.main()
