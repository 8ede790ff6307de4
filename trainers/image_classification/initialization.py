"""Initial weights, as PyTorch's image classification examples have them."""

from typing import Any

import keras


def of_convolution() -> keras.initializers.Initializer:
  """Returns He's normal distribution by fan-out (He et al. 2015, eq. 14)."""
  return keras.initializers.VarianceScaling(
    2.0, mode="fan_out", distribution="untruncated_normal"
  )


def of_linear(fan_in: int) -> dict[str, Any]:
  """Returns arguments of a Dense layer for the default of PyTorch's Linear.

  Kernel and bias are uniform between -1/sqrt(fan_in) and 1/sqrt(fan_in).
  """
  limit = fan_in**-0.5
  return {
    f"{name}_initializer": keras.initializers.RandomUniform(-limit, limit)
    for name in ("kernel", "bias")
  }
