"""What XLA makes of a step on a CPU."""

import re

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from lookahead_tf import Lookahead
from tests import xla
from tests.lookahead_tf import keras_optimizers

_SHAPE = (512, 256)
_WEIGHTS = re.compile(r"= \w+\[512,256\]\S* (fusion|copy|call)\(")
_HANDED_OVER = re.compile(r"entry_computation_layout=\{\((.*?)\)->\((.*?)\)\}")
_SGD = {"learning_rate": 0.1, "momentum": 0.9}
_OPTIMIZERS = [
  name
  for name in (
    *("SGD", "Adam", "AdamW", "Nadam", "Adamax", "Adagrad", "Adadelta"),
    *("RMSprop", "Ftrl", "Lion", "Lamb", "Adafactor", "Muon"),
    "ScheduleFreeAdamW",
  )
  if hasattr(keras.optimizers, name)  # Some came after Keras 3.8.
]


def _compiled_step(optimizer, dtype="float32"):
  """Returns the optimized program of a step over one weight matrix, as text."""
  weights = keras.Variable(np.ones(_SHAPE), dtype=dtype)
  optimizer.build([weights])
  step = tf.function(
    lambda g: optimizer.apply([g], [weights]), jit_compile=True
  )
  gradient = tf.ones(_SHAPE, dtype)
  return step.experimental_get_compiler_ir(gradient)(stage="optimized_hlo")


def _kernels(program):
  """Returns the kernels over weights of every step, synchronizing or not."""
  return _WEIGHTS.findall(program[program.index("ENTRY ") :])


def _copies(program):
  return _kernels(program).count("copy")


def _handed_over(program):
  """Returns how many weight matrices a step takes, and how many it returns.

  TensorFlow takes time for each variable that a compiled step may change, in
  each call of the step.
  """
  takes, returns = _HANDED_OVER.search(program).groups()
  return takes.count("[512,256]"), returns.count("[512,256]")


class FusionTest(tf.test.TestCase, parameterized.TestCase):
  def setUp(self):
    super().setUp()
    xla.require(self)

  @parameterized.parameters(*_OPTIMIZERS)
  def test_no_loop_and_no_copy(self, inner):
    make = getattr(keras.optimizers, inner)
    bare, step = _compiled_step(make()), _compiled_step(Lookahead(make()))
    self.assertNotIn(" while(", step)
    self.assertEqual(_copies(step), _copies(bare))

  @parameterized.parameters(
    {},
    {"momentum": 0.9, "nesterov": True},
    {"momentum": 0.9, "weight_decay": 0.01},
    {"momentum": 0.9, "global_clipnorm": 1.0},
  )
  def test_two_kernels_more_than_without(self, **sgd):
    """The third, the interpolation, is a part of the update of the weights."""
    bare = _compiled_step(keras.optimizers.SGD(0.1, **sgd))
    step = _compiled_step(Lookahead(keras.optimizers.SGD(0.1, **sgd)))
    self.assertLen(_kernels(step), len(_kernels(bare)) + 2)

  @parameterized.named_parameters(
    ("interpolate", _SGD, {"inner_state": "interpolate"}),
    ("reset", _SGD, {"inner_state": "reset"}),
    ("accumulation", _SGD | {"gradient_accumulation_steps": 2}, {}),
    ("slow_momentum", _SGD, {"slow_momentum": 0.9, "slow_nesterov": True}),
    ("outer_optimizer", _SGD, {"outer_optimizer": "adam"}),
    ("pull_back", _SGD, {"pull_back": 0.5}),
    ("float16", _SGD, {}, "float16"),
    ("float32_slow", _SGD, {"slow_dtype": "float32"}, "float16"),
  )
  def test_no_copy_where_others_use_what_is_updated(
    self, sgd, lookahead, dtype="float32"
  ):
    bare = keras.optimizers.SGD(**sgd)
    step = Lookahead(keras.optimizers.SGD(**sgd), **lookahead)
    self.assertEqual(
      _copies(_compiled_step(step, dtype)), _copies(_compiled_step(bare, dtype))
    )

  @parameterized.parameters(({}, 1), ({"slow_momentum": 0.9}, 2))
  def test_no_more_is_handed_over_than_the_state(self, lookahead, state):
    bare = _compiled_step(keras.optimizers.SGD(**_SGD))
    step = _compiled_step(Lookahead(keras.optimizers.SGD(**_SGD), **lookahead))
    takes, returns = _handed_over(bare)
    self.assertEqual((takes, returns), (3, 2))  # Gradient, weights, momentum.
    self.assertEqual(_handed_over(step), (takes + state, returns + state))

  def test_no_copy_by_lookahead_of_lookahead(self):
    sgd = keras.optimizers.SGD(**_SGD)
    nested = Lookahead(Lookahead(sgd, name="inner"), name="outer")
    self.assertEqual(_copies(_compiled_step(nested)), 0)

  def test_no_copy_by_lookahead_of_several_lookaheads(self):
    # Which a MultiOptimizer has from its build on.
    keras_optimizers.require(self, "MultiOptimizer")
    several = keras.optimizers.MultiOptimizer(
      lambda variable: Lookahead(keras.optimizers.SGD(**_SGD))
    )
    self.assertEqual(_copies(_compiled_step(Lookahead(several))), 0)


if __name__ == "__main__":
  tf.test.main()
