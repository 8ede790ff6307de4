"""What Lookahead needs of TensorFlow itself, all in one place."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

# Code under this scope runs now, not in the function that is being traced.
# Keras' trainer first builds an optimizer inside the traced training step,
# where an assignment to a new variable would be traced once and then lost.
run_now = tf.init_scope


def run_if(condition: Any, function: Callable[[], None]) -> None:
  """Calls `function`, which only assigns to variables, if `condition` holds.

  It is a loop of zero or one iterations: XLA on the CPU copies each buffer that
  passes through a conditional, but carries the state of a loop in place.

  Args:
    condition: Scalar boolean tensor.
    function: Its assignments run in the order in which it makes them.
  """

  def body(_):
    function()
    return (tf.constant(False),)

  tf.while_loop(cond=lambda pending: pending, body=body, loop_vars=(condition,))
