"""Several optimizers in one model or program."""

import glob

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import lookahead_tf
from lookahead_tf import LogSlowWeights, Lookahead, SwapSlowWeights
from tests.lookahead_tf import keras_optimizers, small_model
from tests.lookahead_tf.small_model import make, values
from tests.lookahead_tf.test_case import TestCase

STEPS = 5
X, Y = small_model.X[: STEPS * 8], small_model.Y[: STEPS * 8]


class Gan(keras.Model):
  """Two networks, each with an optimizer and steps of its own."""

  def __init__(self):
    super().__init__()
    self.generator = keras.Sequential([keras.layers.Dense(3)])
    self.discriminator = keras.Sequential([keras.layers.Dense(2)])

  def call(self, x):
    return self.discriminator(self.generator(x))

  def compile(self, d_optimizer, g_optimizer):
    super().compile(loss="mse")
    self.d_optimizer, self.g_optimizer = d_optimizer, g_optimizer

  def train_step(self, data):
    x, y = data
    losses = []
    for network, optimizer in (
      (self.discriminator, self.d_optimizer),
      (self.generator, self.g_optimizer),
    ):
      with tf.GradientTape() as tape:
        loss = tf.reduce_mean((self(x) - y) ** 2)
      variables = network.trainable_variables
      optimizer.apply(tape.gradient(loss, variables), variables)
      losses.append(loss)
    return {"loss": losses[0]}


def _gan(d_optimizer=None):
  keras.utils.set_random_seed(1)
  gan = Gan()
  gan.compile(
    d_optimizer or Lookahead(keras.optimizers.SGD(0.05), 3),
    Lookahead(keras.optimizers.Adam(0.05), 4),
  )
  return gan


def _fit(model, callbacks=(), **arguments):
  return small_model.fit(model, STEPS, callbacks=[*callbacks], **arguments)


class OptimizersOfTheirOwnTest(TestCase):
  def _slow(self, gan):
    return [
      *values(gan.g_optimizer.slow_weights),
      *values(gan.d_optimizer.slow_weights),
    ]

  def _weights(self, gan):
    networks = (gan.generator, gan.discriminator)
    return [w for n in networks for w in values(n.trainable_variables)]

  def test_slow_weights(self):
    gan = _gan()
    _fit(gan)
    fast = self._weights(gan)
    for arguments in (
      {"model": gan},
      {"model": gan, "optimizer": [gan.d_optimizer, gan.g_optimizer]},
      {"model": [gan.generator, gan]},
    ):
      with lookahead_tf.slow_weights(**arguments):
        self.assertSame(self._weights(gan), self._slow(gan))
      self.assertSame(self._weights(gan), fast)

  def test_swapping_and_the_end_of_fit(self):
    seen = []

    class Look(keras.callbacks.Callback):
      def on_test_begin(self, logs=None):
        seen.append((weights(gan), slow(gan)))

    weights, slow = self._weights, self._slow
    gan, without = _gan(), _gan()
    _fit(without, epochs=2, validate=True)
    callbacks = [SwapSlowWeights(), Look()]
    _fit(gan, callbacks, epochs=2, validate=True)
    for found, expected in seen:
      self.assertSame(found, expected)
    self.assertLen(seen, 2)
    self.assertSame(self._slow(gan), self._slow(without))
    self.assertSame(self._weights(gan), self._slow(gan))
    _fit(gan)  # Without the callback, and not refused.

  def test_one_that_is_no_lookahead(self):
    gan = _gan(d_optimizer=keras.optimizers.SGD(0.1))
    _fit(gan, [SwapSlowWeights()], validate=True)
    self.assertSame(
      values(gan.generator.trainable_variables),
      values(gan.g_optimizer.slow_weights),
    )

  def test_one_that_is_not_used(self):
    gan = _gan()
    gan.pretraining = Lookahead("sgd")
    gan.teacher = Lookahead("sgd")
    gan.teacher.build([keras.Variable(0.0)])
    _fit(gan, [SwapSlowWeights()], validate=True)
    self.assertSame(self._weights(gan), self._slow(gan))

  @parameterized.parameters(
    lambda one, two: [one, two], lambda one, two: {"d": [one], "g": (two,)}
  )
  def test_in_lists_and_dictionaries(self, hold):
    gan = _gan()
    _fit(gan)
    gan.all_of_them = hold(gan.d_optimizer, gan.g_optimizer)
    gan.d_optimizer, gan.g_optimizer = None, None
    found = lookahead_tf.models.optimizers(gan)
    lookaheads = [o for o in found if isinstance(o, Lookahead)]
    self.assertLen(lookaheads, 2)

  def test_curves(self):
    folder = self.new_path()
    _fit(_gan(), [LogSlowWeights(folder, update_freq=2)])
    self.assertNotEmpty(glob.glob(f"{folder}/train/*"))


def _multi_optimizer(**arguments):
  return keras.optimizers.MultiOptimizer(
    keras.optimizers.OptimizerMap(
      keras.optimizers.SGD(0.1, **arguments),
      {".*bias": keras.optimizers.Adam(0.2, **arguments)},
    )
  )


def _multi_optimizer_of_lookaheads(**arguments):
  return keras.optimizers.MultiOptimizer(
    keras.optimizers.OptimizerMap(
      Lookahead(keras.optimizers.SGD(0.1, **arguments), 3),
      {".*bias": Lookahead(keras.optimizers.Adam(0.2, **arguments), 3)},
    )
  )


class RateTest(TestCase):
  def setUp(self):
    super().setUp()
    keras_optimizers.require(self, "MultiOptimizer")

  @parameterized.parameters(
    lambda: _multi_optimizer_of_lookaheads(),
    lambda: Lookahead(_multi_optimizer(), 3),
    lambda: Lookahead(Lookahead(_multi_optimizer(), 3), 2),
  )
  def test_callbacks_see_each_rate(self, optimizer):
    model = make(optimizer(), build=False)
    schedule = keras.callbacks.LearningRateScheduler(
      lambda epoch, rate: rate / 2
    )
    board = keras.callbacks.TensorBoard(self.new_path())
    history = _fit(model, [schedule, board], epochs=2).history
    rates = {
      tuple(np.round(values, 6))
      for name, values in history.items()
      if name.startswith("learning_rate")
    }
    self.assertEqual(rates, {(0.05, 0.025), (0.1, 0.05)})

  def test_a_plateau_reduces_each_rate(self):
    model = make(Lookahead(_multi_optimizer(), 3), build=False)
    plateau = keras.callbacks.ReduceLROnPlateau(
      "loss", factor=0.5, patience=1, min_delta=1e9
    )
    _fit(model, [plateau], epochs=3)
    rates = [float(o.learning_rate) for o in model.optimizer.optimizers]
    self.assertAllClose(sorted(rates), [0.025, 0.05])

  def test_there_are_no_optimizers_in_one(self):
    self.assertFalse(hasattr(Lookahead("sgd"), "optimizers"))


class AveragesTest(TestCase):
  @parameterized.parameters(
    lambda **a: _multi_optimizer_of_lookaheads(**a),
    lambda **a: Lookahead(_multi_optimizer(**a), 3),
    lambda **a: Lookahead(keras.optimizers.SGD(0.1, **a), 3),
  )
  def test_swap_ema_weights(self, optimizer):
    keras_optimizers.require(self, "MultiOptimizer")
    model = make(optimizer(use_ema=True, ema_momentum=0.5), build=False)
    for _ in range(2):
      model.train_on_batch(X, Y)
    fast = values(model.trainable_variables)
    loss = model.evaluate(
      X, Y, verbose=0, callbacks=[keras.callbacks.SwapEMAWeights()]
    )
    self.assertNotAllClose(loss, model.evaluate(X, Y, verbose=0), 1e-3)
    self.assertAllClose(values(model.trainable_variables), fast)

  def test_one_average_a_variable(self):
    optimizer = Lookahead(keras.optimizers.SGD(0.1, use_ema=True))
    optimizer.build([keras.Variable(0.0)])
    averages = [v for v in optimizer.variables if "average" in v.path]
    self.assertLen(averages, 1)


class HyperparametersTest(TestCase):
  @parameterized.parameters(
    ("clipnorm", 1.5),
    ("clipvalue", 1.5),
    ("global_clipnorm", 1.5),
    ("weight_decay", 0.1),
    ("use_ema", True),
    ("loss_scale_factor", 8.0),
    ("gradient_accumulation_steps", 4),
  )
  def test_they_are_the_inner_optimizers(self, name, value):
    inner = keras.optimizers.SGD(**{name: value})
    optimizer = Lookahead(Lookahead(inner))
    self.assertEqual(getattr(optimizer, name), value)
    optimizer.build([keras.Variable(0.0)])
    self.assertEqual(getattr(optimizer, name), value)
    setattr(optimizer, name, 2 * value)
    self.assertEqual(getattr(inner, name), 2 * value)

  def test_ema(self):
    inner = keras.optimizers.SGD(
      use_ema=True, ema_momentum=0.7, ema_overwrite_frequency=3
    )
    optimizer = Lookahead(inner)
    self.assertEqual(optimizer.ema_momentum, 0.7)
    self.assertEqual(optimizer.ema_overwrite_frequency, 3)

  def test_clipping_that_is_assigned_clips(self):
    variable = keras.Variable(0.0)
    optimizer = Lookahead(keras.optimizers.SGD(1.0), 10)
    optimizer.clipvalue = 0.25
    optimizer.apply([tf.constant(8.0)], [variable])
    self.assertAllClose(variable, -0.25)


class NamesTest(TestCase):
  def test_each_has_a_name_of_its_own(self):
    optimizers = [Lookahead("sgd") for _ in range(3)]
    self.assertLen({optimizer.name for optimizer in optimizers}, 3)
    for optimizer in optimizers:
      self.assertStartsWith(optimizer.name, "lookahead")

  def test_a_name_that_is_given_stays(self):
    optimizer = Lookahead("sgd", name="mine")
    self.assertEqual(optimizer.name, "mine")
    self.assertEqual(optimizer.get_config()["name"], "mine")

  @parameterized.parameters(None, "lookahead")
  def test_paths_of_nested_ones(self, name):
    # OrbaxCheckpoint saves a model's state by paths.
    optimizer = keras.optimizers.Adam()
    for _ in range(3):
      optimizer = Lookahead(optimizer, 2, name=name)
    model = make(optimizer)
    self.assertIn(name, (None, model.optimizer.name))
    model.train_on_batch(X, Y)
    paths = [v.path for v in model.optimizer.variables]
    self.assertLen(set(paths), len(paths))
    tree = model.get_state_tree()["optimizer_variables"]
    self.assertLen(keras.tree.flatten(tree), len(paths))


if __name__ == "__main__":
  tf.test.main()
