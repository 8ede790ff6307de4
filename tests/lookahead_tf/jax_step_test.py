"""A step on JAX: what XLA makes of it, and the values that it sees.

KERAS_BACKEND=jax JAX_PLATFORMS=cpu python -m pytest FILE

It needs no TensorFlow.
"""

import unittest

import keras
import numpy as np
from absl.testing import absltest, parameterized

from lookahead_tf import Lookahead
from tests.lookahead_tf import keras_optimizers

IS_JAX = keras.backend.backend() == "jax"
if IS_JAX:
  import jax
  from jax import export

_SHAPES = [(512, 256), (256,)]
_BYTES = 4 * (512 * 256 + 256)


def _step(optimizer):
  """Returns a step that is given all buffers, and its arguments.

  Weights and state stand in the order in which `stateless_apply` returns them:
  findings/keras_stateless_apply_copies_what_is_donated.sh says why.
  """
  variables = [keras.Variable(jax.numpy.ones(shape)) for shape in _SHAPES]
  optimizer.build(variables)

  def step(weights, state, gradients):
    return optimizer.stateless_apply(state, gradients, weights)

  weights, state = (
    [variable.value for variable in each]
    for each in (variables, optimizer.variables)
  )
  return jax.jit(step, donate_argnums=(0, 1)), (weights, state, weights)


def _compile(optimizer):
  """Returns the optimized program of a step, as text, and its memory."""
  step, arguments = _step(optimizer)
  compiled = step.lower(*arguments).compile()
  return compiled.as_text(), compiled.memory_analysis()


def _lower(optimizer, platform):
  """Returns the program of a step before XLA, for a platform, as text."""
  step, arguments = _step(optimizer)
  return export.export(step, platforms=[platform])(*arguments).mlir_module()


class _Divide(keras.constraints.Constraint):
  """Divides weights by another variable, which a step is given too."""

  def __init__(self, divisor):
    self._divisor = divisor

  def __call__(self, w):
    return w / self._divisor.value


@unittest.skipUnless(IS_JAX, "XLA for TensorFlow: fusion_test")
class JaxStepTest(parameterized.TestCase):
  @parameterized.parameters(*keras_optimizers.CLASSES)
  def test_neither_loop_nor_copy(self, inner):
    make = keras_optimizers.CLASSES[inner]
    _, bare = _compile(make(0.1))
    text, memory = _compile(Lookahead(make(0.1)))
    self.assertNotIn(" while(", text)
    self.assertNotIn(" conditional(", text)
    temporary = memory.temp_size_in_bytes - bare.temp_size_in_bytes
    self.assertLess(temporary, 0.01 * _BYTES)

  @parameterized.parameters("SGD", "Adam")
  def test_one_copy_of_the_weights_more(self, inner):
    make = getattr(keras.optimizers, inner)
    _, bare = _compile(make(0.1))
    _, memory = _compile(Lookahead(make(0.1)))
    added = memory.alias_size_in_bytes - bare.alias_size_in_bytes
    self.assertBetween(added, _BYTES, 1.01 * _BYTES)

  # With `slow_momentum` a step that is due holds its pseudo-gradient.
  @parameterized.parameters(
    {"inner_state": "interpolate"}, {"inner_state": "reset"}, {"pull_back": 0.5}
  )
  def test_loops_copy_nothing(self, **arguments):
    text, memory = _compile(Lookahead(keras.optimizers.Adam(0.1), **arguments))
    self.assertIn(" while(", text)
    self.assertLess(memory.temp_size_in_bytes, 0.01 * _BYTES)

  @parameterized.parameters("tpu", "cuda")
  def test_accelerators_have_loops(self, platform):
    text = _lower(Lookahead(keras.optimizers.SGD(0.1)), platform)
    self.assertEqual(text.count("stablehlo.while"), 2)

  @parameterized.parameters("maintain", "reset")  # By selection, and by loop.
  def test_constraint_sees_what_the_step_is_given(self, inner_state):
    divisor = keras.Variable(8.0, trainable=False)
    weight = keras.Variable(jax.numpy.zeros(3))
    weight.constraint = _Divide(divisor)
    optimizer = Lookahead(
      keras.optimizers.SGD(1.0), 1, slow_step_size=1.0, inner_state=inner_state
    )
    optimizer.build([weight])

    @jax.jit
    def step(values, divisor_value):
      mapping = list(zip([weight, *optimizer.variables], values))
      with keras.StatelessScope([*mapping, (divisor, divisor_value)]) as scope:
        optimizer.apply([jax.numpy.full(3, 4.0)], [weight])
      return scope.get_current_value(weight)

    values = [v.value for v in (weight, *optimizer.variables)]
    # -4, divided after the inner update and after the slow step.
    self.assertEqual(step(values, 2.0).tolist(), [-1.0] * 3)

  def test_fit_of_a_second_model_is_refused(self):
    optimizer = Lookahead("sgd", 2)
    ones = np.ones((8, 1), "float32")
    models = []
    for _ in range(2):
      model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
      model.compile(optimizer, "mse")
      models.append(model)
    first, second = models
    first.fit(ones, ones, batch_size=2, verbose=0)
    before = first.get_weights()
    ended = []
    epochs = keras.callbacks.LambdaCallback(
      on_epoch_end=lambda epoch, logs: ended.append(epoch)
    )
    with self.assertRaisesRegex(ValueError, "another model.*new optimizer"):
      second.fit(ones, ones, batch_size=2, verbose=0, callbacks=[epochs])
    self.assertEmpty(ended)  # It is told before the first step.
    for now, then in zip(first.get_weights(), before):
      np.testing.assert_array_equal(now, then)


if __name__ == "__main__":
  absltest.main()
