"""Inner optimizers that people write themselves."""

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from lookahead_tf import Lookahead
from tests import xla

K, ALPHA, STEPS = 3, 0.5, 7
X = np.random.default_rng(0).normal(size=(STEPS * 8, 3)).astype("float32")
Y = X.sum(1, keepdims=True)


class Around(keras.optimizers.Optimizer):
  """Leaves everything to another optimizer, and counts nothing."""

  def __init__(self, inner):
    super().__init__(learning_rate=0.0)
    self.inner = inner

  def build(self, variables):
    super().build(variables)
    self.inner.build(variables)

  def apply(self, grads, trainable_variables=None):
    self.inner.apply(grads, trainable_variables)


class AroundInADictionary(Around):
  """The same, with the optimizer in a dictionary."""

  def __init__(self, inner):
    super().__init__(inner)
    self.members = {"only": inner}
    del self.inner

  def __getattr__(self, name):
    if name == "inner":
      return self.members["only"]
    raise AttributeError(name)


class InTurn(Around):
  """Uses two optimizers in turn, in eager mode."""

  def __init__(self, *members):
    super().__init__(members[0])
    self.members = list(members)

  def build(self, variables):
    super().build(variables)
    self.members[1].build(variables)

  def apply(self, grads, trainable_variables=None):
    self.members[0].apply(grads, trainable_variables)
    self.members = self.members[::-1]


class FromScratch(keras.optimizers.Optimizer):
  """Gradient descent that calls nothing of its base class."""

  def apply(self, grads, trainable_variables=None):
    for gradient, variable in zip(grads, trainable_variables):
      variable.assign(variable - 0.1 * gradient)


class EveryOther(keras.optimizers.Optimizer):
  """Gradient descent that skips each second call, and counts the others."""

  def build(self, variables):
    super().build(variables)
    self.calls = self.add_variable((), dtype="int", name="calls")

  def apply(self, grads, trainable_variables=None):
    is_used = self.calls % 2 == 0
    self.calls.assign(self.calls + 1)
    factor = tf.where(is_used, 0.1, 0.0)
    for gradient, variable in zip(grads, trainable_variables):
      variable.assign(variable - factor * gradient)
    self._iterations.assign_add(tf.cast(is_used, self._iterations.dtype))


def _sgd(**arguments):
  return keras.optimizers.SGD(0.1, **arguments)


def _train(optimizer, way="fit", **compile_arguments):
  keras.utils.set_random_seed(1)
  model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
  model.compile(optimizer, loss="mse", **compile_arguments)
  if way == "fit":
    model.fit(X, Y, batch_size=8, shuffle=False, verbose=0)
  else:
    for i in range(0, len(X), 8):
      model.train_on_batch(X[i : i + 8], Y[i : i + 8])
  return model.get_weights()


class OwnOptimizersTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.product(
    make=[
      lambda: Around(_sgd()),
      lambda: AroundInADictionary(_sgd()),
      lambda: FromScratch(0.1),
      lambda: Around(FromScratch(0.1)),
    ],
    way=["fit", "train_on_batch"],
    compile_arguments=[{"jit_compile": True}, {"run_eagerly": True}],
  )
  def test_one_that_does_not_count(self, make, way, compile_arguments):
    if "jit_compile" in compile_arguments:
      xla.require(self)
    expected = _train(Lookahead(_sgd(), K, ALPHA), way)
    found = _train(Lookahead(make(), K, ALPHA), way, **compile_arguments)
    self.assertAllClose(found, expected, 1e-6)

  @parameterized.parameters(
    lambda inner: Around(inner), lambda inner: Lookahead(Around(inner), 100)
  )
  def test_one_around_an_optimizer_that_accumulates(self, around):
    accumulating = {"gradient_accumulation_steps": 2}
    plain = Lookahead(_sgd(**accumulating), K, ALPHA)
    expected = _train(plain, "train_on_batch")
    optimizer = Lookahead(around(_sgd(**accumulating)), K, ALPHA)
    found = _train(optimizer, "train_on_batch")
    self.assertAllClose(found, expected, 1e-6)

  def test_one_that_uses_two_in_turn(self):
    optimizer = Lookahead(InTurn(_sgd(), _sgd()), K, ALPHA)
    expected = _train(Lookahead(_sgd(), K, ALPHA), "train_on_batch")
    found = _train(optimizer, "train_on_batch", run_eagerly=True)
    self.assertAllClose(found, expected, 1e-6)

  def test_calls_that_it_skips_are_no_updates(self):
    optimizer = Lookahead(EveryOther(0.1), 2, ALPHA)
    variable = keras.Variable(0.0)
    step = tf.function(
      lambda: optimizer.apply([tf.constant(-10.0)], [variable])
    )
    found = []
    for _ in range(6):
      step()
      found.append(float(variable))
    # Updates by 1 in calls 1, 3 and 5; the second of them ends a period.
    self.assertAllClose(found, [1.0, 1.0, 1.0, 1.0, 2.0, 2.0])

  def test_no_gradients(self):
    variable = keras.Variable(1.0)
    optimizer = Lookahead(_sgd(), 1, ALPHA)
    optimizer.build([variable])
    optimizer.apply([], [])
    self.assertAllEqual(optimizer.iterations, 0)
    self.assertAllEqual(variable, 1.0)


if __name__ == "__main__":
  tf.test.main()
