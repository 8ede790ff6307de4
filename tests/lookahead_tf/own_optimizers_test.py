"""Inner optimizers that people write themselves."""

import functools

import keras
import tensorflow as tf
from absl.testing import parameterized

from lookahead_tf import Lookahead
from tests import xla
from tests.lookahead_tf import algorithm1, small_model
from tests.lookahead_tf.test_case import TestCase

K, ALPHA, STEPS = 3, 0.5, 7


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


def _train(optimizer, way="train_on_batch", **compile_arguments):
  model = small_model.make(
    optimizer, build_optimizer=False, **compile_arguments
  )
  if way == "fit":
    small_model.fit(model, STEPS)
  else:
    small_model.train(model, 0, STEPS)
  return model.get_weights()


@functools.cache
def _expected(way="train_on_batch", accumulate=1):
  """Returns what Algorithm 1 around gradient descent makes of the weights."""
  variables = small_model.make().trainable_variables
  inner = _sgd(
    gradient_accumulation_steps=None if accumulate == 1 else accumulate
  )
  fast, slow = algorithm1.lookahead(
    algorithm1.Bare(inner, variables),
    small_model.gradient,
    small_model.values(variables),
    STEPS,
    K * accumulate,
    ALPHA,
  )
  return slow if way == "fit" else fast


class OwnOptimizersTest(TestCase):
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
    found = _train(Lookahead(make(), K, ALPHA), way, **compile_arguments)
    self.assertNear(found, _expected(way))

  @parameterized.parameters(
    lambda inner: Around(inner), lambda inner: Lookahead(Around(inner), 100)
  )
  def test_one_around_an_optimizer_that_accumulates(self, around):
    inner = _sgd(gradient_accumulation_steps=2)
    found = _train(Lookahead(around(inner), K, ALPHA))
    self.assertNear(found, _expected(accumulate=2))

  def test_one_that_uses_two_in_turn(self):
    optimizer = Lookahead(InTurn(_sgd(), _sgd()), K, ALPHA)
    found = _train(optimizer, run_eagerly=True)
    self.assertNear(found, _expected())

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
