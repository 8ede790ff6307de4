"""The network of CIFAR-10 speed runs: no residuals, a whitening first layer.

Source: cifar10-airbench, its program of 94 %.
"""

from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from trainers.image_classification import fast_layers

# Name of the first layer.
WHITENING = "whitening"
# Height and width of the whitening filters, in pixels.
_PATCH = 2
# Added to each variance before the division, which limits the greatest filters.
_WHITENING_EPSILON = 5e-4
# Widths of the three groups, as multiples of the first.
_FACTORS = (1, 4, 4)
LEAST_IMAGE_SIZE = 25  # Three poolings by 2 and one by 3 leave one pixel.


def features(
  x: Any, width: int, normalized: Callable[..., Any], tuned_for_cpu: bool
) -> Any:
  """Returns the feature maps of images, to be averaged over their places.

  A convolution of 2x2 pixels without padding, whose kernel does not train, and
  GELU; then three groups of `width`, 4 `width` and 4 `width` channels: a 3x3
  convolution, a pooling by 2, batch normalization, GELU, a 3x3 convolution,
  batch normalization, GELU; at last a pooling by 3.

  Args:
    x: Images, a KerasTensor (batch, height, width, channels).
    width: Channels of the first group, 64 in the source.
    normalized: A function of a tensor and the `name` of the layer before it:
      returns the tensor after batch normalization.
    tuned_for_cpu: Whether to make layers that are faster on a CPU; see
      `Architecture`.
  """
  filters = 2 * _PATCH**2 * x.shape[-1]
  whitening = layers.Conv2D(filters, _PATCH, name=WHITENING)
  x = whitening(x)
  whitening.kernel.trainable = False
  gelu, conv2d = layers.Activation, layers.Conv2D
  if tuned_for_cpu:
    gelu, conv2d = fast_layers.FusedGelu, fast_layers.MatmulGradientConv2D
  x = gelu("gelu")(x)
  for group, factor in enumerate(_FACTORS):
    for i in range(2):
      name = f"group{group}_conv{i}"
      x = conv2d(
        width * factor,
        3,
        padding="same",
        use_bias=False,
        kernel_initializer=IdentityFirst(),
        name=name,
      )(x)
      if i == 0:
        x = layers.MaxPooling2D(2)(x)
      x = gelu("gelu")(normalized(x, name=name))
  return layers.MaxPooling2D(3)(x)


@keras.saving.register_keras_serializable(package="lookahead_tf.trainers")
class IdentityFirst(keras.initializers.Initializer):
  """Kernels of convolutions whose first filters copy their input.

  Filter i copies channel i, for each channel or as many as there are filters.
  The other filters are uniform between -1 / sqrt(fan_in) and 1 / sqrt(fan_in),
  the default of PyTorch.
  """

  def __call__(self, shape: Any, dtype: Any = None) -> Any:
    """Returns a kernel of `shape`, (height, width, inputs, outputs)."""
    height, width, inputs, outputs = shape
    limit = (height * width * inputs) ** -0.5
    kernel = keras.random.uniform(shape, -limit, limit, dtype)
    copied = min(inputs, outputs)
    identity = np.zeros((*shape[:3], copied), "float32")
    channels = np.arange(copied)
    identity[height // 2, width // 2, channels, channels] = 1.0
    identity = ops.cast(identity, kernel.dtype)
    return ops.concatenate([identity, kernel[..., copied:]], axis=-1)


def whitening_filters(images: Iterable[np.ndarray]) -> np.ndarray:
  """Returns filters that make the patches of images uncorrelated.

  The filters are the eigenvectors of the covariance of all patches of 2x2
  pixels, each over the square root of its eigenvalue, that of the greatest
  eigenvalue first; and behind these their negatives.

  Args:
    images: Batches of normalized images, float (batch, height, width,
      channels).

  Returns:
    float32 (2, 2, channels, 8 * channels), a kernel of a convolution.
  """
  count, total, products = 0, 0.0, 0.0
  for batch in images:
    height, width, channels = batch.shape[1:]
    corners = [
      batch[:, i : height - _PATCH + 1 + i, j : width - _PATCH + 1 + j]
      for i in range(_PATCH)
      for j in range(_PATCH)
    ]
    patches = np.concatenate(corners, axis=-1).reshape(-1, _PATCH**2 * channels)
    count += len(patches)
    total += patches.sum(0, dtype="float64")
    products += (patches.T @ patches).astype("float64")
  mean = total / count
  covariance = products / count - np.outer(mean, mean)
  variances, vectors = np.linalg.eigh(covariance)  # The greatest is last.
  filters = (vectors / np.sqrt(variances + _WHITENING_EPSILON))[:, ::-1]
  filters = np.concatenate([filters, -filters], axis=1)
  return filters.reshape(_PATCH, _PATCH, channels, -1).astype("float32")
