import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from tests import replicas, xla
from trainers import averaging, optimizers


def _make(strategy, patience=2):
  with strategy.scope():
    model = keras.Sequential(
      [keras.Input((1,)), keras.layers.Dense(2, use_bias=False)]
    )
    model.set_weights([np.array([[1.0, -2.0]])])
    optimizer = averaging.NonMonotonicSgd(0.1, patience=patience)
    optimizer.build(model.trainable_variables)
  return model, optimizer


def _evaluated(model, optimizer):
  with optimizers.weights_to_evaluate(model, optimizer):
    return np.array(model.trainable_variables[0])[0]


class NonMonotonicSgdTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.parameters(
    ([5.0, 4.0, 3.0, 2.0, 1.0], None),
    # Not worse than the best of the evaluations but the last two.
    ([5.0, 4.0, 4.5, 4.4], None),
    ([5.0, 4.0, 4.5, 4.4, 4.3], 4),
    ([3.0, 4.0, 5.0], None),
    ([3.0, 4.0, 5.0, 3.5], 3),
    ([3.0, 2.0, 2.5, 2.9, 2.1], 4),
  )
  def test_starts_as_in_the_reference(self, losses, expected):
    _, optimizer = _make(tf.distribute.get_strategy())
    started, before = None, []
    for i, loss in enumerate(losses):
      optimizer.observe(loss)
      if started is None and optimizer.is_averaging:
        started = i
      # The condition of the reference implementation.
      is_time = len(before) > 2 and loss > min(before[:-2])
      self.assertEqual(started == i, is_time and started in (None, i))
      before.append(loss)
    self.assertEqual(started, expected)

  @parameterized.product(jit_compile=[False, True], count=[1, 2])
  def test_the_mean_of_the_weights_since_then(self, jit_compile, count):
    if jit_compile:
      xla.require(self)
      if count == 2:
        self.skipTest("XLA compiles no step in which replicas meet.")
    strategy = (
      tf.distribute.OneDeviceStrategy("CPU:0")
      if count == 1
      else replicas.mirrored()
    )
    model, optimizer = _make(strategy)
    (variable,) = model.trainable_variables

    @tf.function
    def step(gradient):
      apply = tf.function(
        lambda: optimizer.apply([gradient / count], [variable]),
        jit_compile=jit_compile,
      )
      strategy.run(apply)

    weights = np.array([1.0, -2.0])
    self.assertAllClose(_evaluated(model, optimizer), weights)
    random = np.random.default_rng(0)
    since = None
    for i in range(9):
      if i == 4:
        for loss in (1.0, 2.0, 3.0, 4.0):
          optimizer.observe(loss)
        self.assertTrue(optimizer.is_averaging)
        since = []
      gradient = random.normal(size=(1, 2))
      step(tf.constant(gradient, tf.float32))
      weights = weights - 0.1 * gradient[0]
      if since is not None:
        since.append(weights)
      expected = weights if since is None else np.mean(since, axis=0)
      self.assertAllClose(_evaluated(model, optimizer), expected, atol=1e-6)
      self.assertAllClose(np.array(variable)[0], weights, atol=1e-6)

  def test_config(self):
    optimizer = averaging.NonMonotonicSgd(0.3, patience=7, momentum=0.5)
    copy = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    self.assertEqual((copy.patience, copy.momentum), (7, 0.5))
    self.assertTrue(copy.use_ema)
    for patience in (0, 2.5):
      with self.assertRaisesRegex(ValueError, f"patience.*{patience}"):
        averaging.NonMonotonicSgd(patience=patience)

  def test_who_observes(self):
    _, optimizer = _make(tf.distribute.get_strategy())
    self.assertEqual(averaging.observer(optimizer), optimizer.observe)
    scaled = keras.optimizers.LossScaleOptimizer(optimizer)
    self.assertEqual(averaging.observer(scaled), optimizer.observe)
    self.assertIsNone(averaging.observer(keras.optimizers.SGD()))


if __name__ == "__main__":
  tf.test.main()
