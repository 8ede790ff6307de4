"""The update rule of the slow weights, apart from every optimizer's state.

Algorithm 1 of "Lookahead Optimizer: k steps forward, 1 step back" (Zhang,
Lucas, Hinton, Ba; NeurIPS 2019, arXiv:1907.08610), in the paper's symbols:

* phi: the slow weights, phi_0 the initial weights of the model;
* theta: the fast weights, which are the weights of the model;
* k: the synchronization period; alpha: the step size of the slow weights.
"""

from typing import Any

import keras
from keras import ops

from lookahead_tf.backends import backend

# Two nested loops stand in the paper:
#
#   for t = 1, 2, ...
#     theta_{t,0} = phi_{t-1}
#     for i = 1, ..., k
#       theta_{t,i} = theta_{t,i-1} + A(L, theta_{t,i-1}, d_i)
#     phi_t = phi_{t-1} + alpha (theta_{t,k} - phi_{t-1})
#
# An optimizer sees one loop only, that of the inner updates. The end of outer
# pass t and the start of pass t + 1 fall between the same two updates, so they
# merge into one step after every k-th update:
#
#   phi   <- phi + alpha (theta - phi)                                       (1)
#   theta <- phi
#
# In floating point (1) loses what it should keep: phi + (theta - phi) is not
# theta, although alpha = 1 is promised to be the inner optimizer itself. Seen
# from theta the same point is
#
#   phi + alpha (theta - phi) = theta + (alpha - 1) (theta - phi)            (2)
#
# which is theta to the bit for alpha = 1, leaves a weight that did not move
# where it is, and takes as many passes over memory as (1). For alpha = 0 (1) is
# phi to the bit, and (2) rounds: over many periods weights would drift away
# from the initial ones. So there phi itself is taken. XLA makes this choice a
# part of the kernel.


def wide(dtype: Any) -> str:
  """Returns the dtype to interpolate in, at least float32."""
  dtype = keras.backend.standardize_dtype(dtype)
  return "float64" if dtype == "float64" else "float32"


def slow_step(phi: Any, theta: Any, alpha: Any) -> Any:
  """Returns phi + alpha (theta - phi): Algorithm 1, by Eq. (2) above.

  Weights of less than 32 bits are interpolated in float32 and rounded once.

  Args:
    phi: Floating-point tensor or variable, slow weights (or the anchor of a
      buffer of the inner optimizer, which is interpolated in the same way).
    theta: Fast weights, of the shape of `phi`.
    alpha: Scalar in [0, 1], Python float or tensor: the slow step size.

  Returns:
    Tensor of the shape and dtype of `phi`. Exactly `theta` where alpha is 1,
    exactly `phi` where alpha is 0, and both where they are equal.
  """
  phi, theta = ops.convert_to_tensor(phi), ops.convert_to_tensor(theta)
  dtype = keras.backend.standardize_dtype(phi.dtype)
  phi, theta = ops.cast(phi, wide(dtype)), ops.cast(theta, wide(dtype))
  alpha = ops.convert_to_tensor(alpha, dtype=wide(dtype))
  point = backend.either(
    ops.equal(alpha, 0.0),
    lambda: phi,
    lambda: theta + (alpha - 1.0) * (theta - phi),
  )
  return ops.cast(point, dtype)
