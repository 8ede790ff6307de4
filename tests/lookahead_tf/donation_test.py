"""A step on JAX makes no copy of what is donated to it.

KERAS_BACKEND=jax JAX_PLATFORMS=cpu python -m pytest FILE

It needs no TensorFlow.
"""

import unittest

import keras
from absl.testing import absltest, parameterized

from lookahead_tf import Lookahead

IS_JAX = keras.backend.backend() == "jax"
if IS_JAX:
  import jax

_SHAPES = [(512, 256), (256,)]
_BYTES = 4 * (512 * 256 + 256)
_INNERS = {
  "sgd": lambda: keras.optimizers.SGD(0.1, momentum=0.9),
  "adam": lambda: keras.optimizers.Adam(0.1),
}


def _memory(optimizer):
  """Returns what XLA says of the memory of a step that is given all buffers.

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
  compiled = jax.jit(step, donate_argnums=(0, 1)).lower(weights, state, weights)
  return compiled.compile().memory_analysis()


@unittest.skipUnless(IS_JAX, "XLA for TensorFlow: fusion_test")
class DonationTest(parameterized.TestCase):
  @parameterized.product(
    inner=[*_INNERS],
    # With `slow_momentum` a step that is due holds its pseudo-gradient.
    arguments=({}, {"inner_state": "interpolate"}, {"pull_back": 0.5}),
  )
  def test_no_weights_are_set_aside(self, inner, arguments):
    memory = _memory(Lookahead(_INNERS[inner](), **arguments))
    self.assertLess(memory.temp_size_in_bytes, 0.01 * _BYTES)

  @parameterized.parameters(*_INNERS)
  def test_one_copy_of_the_weights_more(self, inner):
    bare = _memory(_INNERS[inner]())
    more = _memory(Lookahead(_INNERS[inner]()))
    added = more.alias_size_in_bytes - bare.alias_size_in_bytes
    self.assertBetween(added, _BYTES, 1.01 * _BYTES)


if __name__ == "__main__":
  absltest.main()
