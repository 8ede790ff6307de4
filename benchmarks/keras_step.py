"""The step of a Keras optimizer alone: gradients are given, there is no model.

What one step does is the same here as at the end of a training step; the
gradients come in as arguments, so that XLA cannot compute with them beforehand.
"""

import math
import time
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from benchmarks.parameter_shapes import Shape
from lookahead_tf import Lookahead

MODES = ("graph", "xla", "xla_loop")
INNERS = {
  "sgd": lambda: keras.optimizers.SGD(0.01, momentum=0.9),
  "adam": lambda: keras.optimizers.Adam(0.001),
}


def make_optimizer(
  inner: str, sync_period: int | None
) -> keras.optimizers.Optimizer:
  """Returns the inner optimizer, within Lookahead unless the period is None."""
  optimizer = INNERS[inner]()
  if sync_period is None:
    return optimizer
  return Lookahead(optimizer, sync_period=sync_period, slow_step_size=0.5)


def make_gradients(shapes: Sequence[Shape]) -> list[tf.Tensor]:
  """Returns random float32 tensors of these shapes, the same on each call."""
  random = np.random.default_rng(0)
  return [tf.constant(random.random(s, "float32") - 0.5) for s in shapes]


class KerasStep:
  """Parameters, an optimizer of them, and its step as a `tf.function`.

  Args:
    gradients: One float32 tensor for each parameter.
    inner: A key of INNERS.
    mode: "graph"; "xla" to compile the step; or "xla_loop" to compile a loop of
      steps. Called from Python, a step has to be handed each variable anew.
    sync_period: That of Lookahead, or None for the inner optimizer alone.

  Attributes:
    optimizer: The optimizer, built.
    parameters: List of Keras variables, of the shapes of the gradients.
  """

  def __init__(
    self,
    gradients: Sequence[tf.Tensor],
    inner: str,
    mode: str,
    sync_period: int | None,
  ):
    self._gradients = list(gradients)
    self.parameters = [
      keras.Variable(gradient, dtype="float32", name=f"parameter_{i}")
      for i, gradient in enumerate(self._gradients)
    ]
    self.optimizer = make_optimizer(inner, sync_period)
    self.optimizer.build(self.parameters)
    self._is_loop = mode == "xla_loop"
    self._step = tf.function(self._apply, jit_compile=mode == "xla")
    self._loop = tf.function(self._make_steps, jit_compile=True)

  def _apply(self, gradients):
    self.optimizer.apply(gradients, self.parameters)

  def _make_steps(self, steps, gradients):
    for _ in tf.range(steps):
      self._apply(gradients)

  def run(self, steps: int) -> float:
    """Makes steps, and returns the seconds that one took on average."""
    started = time.perf_counter()
    if self._is_loop:
      self._loop(tf.constant(steps), self._gradients)
    else:
      for _ in range(steps):
        self._step(self._gradients)
    self.optimizer.iterations.numpy()  # Waits for the last step.
    return (time.perf_counter() - started) / steps

  def state_bytes(self) -> int:
    """Returns the bytes of the optimizer's variables, without parameters."""
    return sum(
      math.prod(variable.shape) * tf.as_dtype(variable.dtype).size
      for variable in self.optimizer.variables
    )
