"""The update rule of the slow weights, apart from every optimizer's state.

Algorithm 1 of "Lookahead Optimizer: k steps forward, 1 step back" (Zhang,
Lucas, Hinton, Ba; NeurIPS 2019, arXiv:1907.08610), in the paper's symbols:

* phi: the slow weights, phi_0 the initial weights of the model;
* theta: the fast weights, which are the weights of the model;
* k: the synchronization period; alpha: the step size of the slow weights.
"""

import keras
from keras import ops

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
# and starting from the nearer end, (1) below alpha = 1/2 and (2) from there,
# gives phi for alpha = 0 and theta for alpha = 1 to the bit, leaves a weight
# that did not move where it is, and rounds least in between.


def slow_update(phi, theta, alpha):
  """Returns phi + alpha (theta - phi): Algorithm 1, and Eq. (1) above.

  Weights of less than 32 bits are interpolated in float32 and rounded once.

  Args:
    phi: Floating-point tensor or variable, slow weights (or the anchor of a
      buffer of the inner optimizer, which is interpolated in the same way).
    theta: Fast weights, of the shape and dtype of `phi`.
    alpha: Scalar in [0, 1], Python float or tensor: the slow step size.

  Returns:
    Tensor of the shape and dtype of `phi`. Exactly `phi` where alpha is 0,
    exactly `theta` where it is 1, and both where they are equal.
  """
  phi, theta = ops.convert_to_tensor(phi), ops.convert_to_tensor(theta)
  dtype = keras.backend.standardize_dtype(phi.dtype)
  wide = "float64" if dtype == "float64" else "float32"
  phi, theta = ops.cast(phi, wide), ops.cast(theta, wide)
  alpha = ops.convert_to_tensor(alpha, dtype=wide)

  nearer_phi = ops.less(alpha, 0.5)
  start = ops.where(nearer_phi, phi, theta)
  step = ops.where(nearer_phi, alpha, ops.subtract(alpha, 1.0))
  return ops.cast(start + step * (theta - phi), dtype)
