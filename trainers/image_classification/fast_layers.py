"""Layers of Keras in faster forms; their results are Keras'."""

import math
from typing import Any

import keras
import tensorflow as tf
from keras import ops


class MatmulGradientConv2D(keras.layers.Conv2D):
  """Keras' layer, with a faster gradient of the kernel in bfloat16 on a CPU.

  The gradient is a product of two matrices for each place of the kernel: the
  pixels that meet that place, and the gradient of the output. For 1x1 kernels,
  and where feature maps have fewer pixels than input and output have channels,
  oneDNN's gradient takes 1.3 to 6 times as long on a CPU with AMX. Elsewhere,
  and mostly in float32, oneDNN's is the faster one, and the layer computes as
  Keras' does. The results are Keras', up to rounding.

  The layer takes tensors of shape (batch, height, width, channels). It computes
  as Keras' does, too, with strides, a dilation, groups, or another padding than
  "same".
  """

  def convolution_op(self, inputs: tf.Tensor, kernel: Any) -> tf.Tensor:
    """Returns the convolution of `inputs`, without the bias."""
    if not self._has_fast_products(inputs):
      return super().convolution_op(inputs, kernel)
    return _convolve(inputs, tf.convert_to_tensor(kernel))

  def _has_fast_products(self, inputs):
    is_plain = (
      self.strides == self.dilation_rate == (1, 1)
      and self.groups == 1
      and self.padding == "same"
      and self.data_format == "channels_last"
    )
    pixels = inputs.shape[1:3].num_elements()
    if not is_plain or inputs.dtype != tf.bfloat16 or pixels is None:
      return False
    channels = min(inputs.shape[-1], self.filters)
    return self.kernel_size == (1, 1) or pixels < channels


@tf.custom_gradient
def _convolve(x, kernel):
  def gradient(upstream):
    return (
      tf.nn.conv2d_transpose(upstream, kernel, tf.shape(x), strides=1),
      _kernel_gradient(x, upstream, kernel.shape),
    )

  return tf.nn.conv2d(x, kernel, strides=1, padding="SAME"), gradient


def _kernel_gradient(x, upstream, shape):
  """Returns the gradient of a kernel of `shape`; `upstream` is the output's."""
  rows, columns, channels, filters = shape
  height, width = x.shape[1:3]
  above, left = (rows - 1) // 2, (columns - 1) // 2
  below, right = rows // 2, columns // 2
  x = tf.pad(x, [[0, 0], [above, below], [left, right], [0, 0]])
  upstream = tf.reshape(upstream, [-1, filters])
  products = [
    tf.matmul(
      tf.reshape(x[:, i : i + height, j : j + width], [-1, channels]),
      upstream,
      transpose_a=True,
    )
    for i in range(rows)
    for j in range(columns)
  ]
  return tf.reshape(tf.stack(products), shape)


class FusedBatchNormalization(keras.layers.BatchNormalization):
  """Keras' layer for images, which is faster on one device.

  Keras computes the mean, the variance and the normalization one after another:
  without XLA each is passes over the feature maps, forward and backward. Here
  one operation does all, in training and for inference. The results are Keras',
  up to rounding.

  In bfloat16, with a number of channels that 16 does not divide, the operation
  computes in float32, since its kernel for such numbers takes 2 to 8 times as
  long in bfloat16 on a CPU
  (findings/tensorflow_batch_norm_in_bfloat16_is_slow_with_24_channels.sh).

  The layer takes tensors of shape (batch, height, width, channels). It trains
  as Keras' own layer does with synchronized statistics and with a mask.

  With another `bias_rate` than 1 the layer adds sqrt(bias_rate) times its
  variable `beta`. A step of SGD, with or without momentum, then moves the bias
  `bias_rate` times as far as a variable that is added itself, and an L2 penalty
  on the variable decays the bias as fast as any other parameter.

  Args:
    bias_rate: Learning rate of the bias with SGD, as a multiple of that of
      other parameters; positive.
    **arguments: Arguments of Keras' layer.
  """

  def __init__(self, bias_rate: float = 1.0, **arguments: Any):
    super().__init__(**arguments)
    self.bias_rate = bias_rate

  @property
  def bias_factor(self) -> float:
    """What the layer multiplies its variable `beta` with."""
    return self.bias_rate**0.5

  def get_config(self) -> dict[str, Any]:
    """Returns the arguments."""
    return super().get_config() | {"bias_rate": self.bias_rate}

  def call(
    self,
    inputs: tf.Tensor,
    training: bool | None = None,
    mask: tf.Tensor | None = None,
  ) -> tf.Tensor:
    """Returns normalized `inputs`; training updates the moving statistics."""
    of_batch = bool(training and self.trainable)
    if of_batch and (self.synchronized or mask is not None):
      result = super().call(inputs, training=training, mask=mask)
      if self.bias_rate != 1.0:
        rest = (self.bias_factor - 1.0) * self.beta
        result += ops.cast(rest, result.dtype)
      return result
    offset = self.beta.value
    if self.bias_rate != 1.0:
      offset = self.bias_factor * offset
    fast_in_bfloat16 = inputs.shape[-1] % 16 == 0
    result = tf.raw_ops.FusedBatchNormV3(
      x=inputs if fast_in_bfloat16 else tf.cast(inputs, tf.float32),
      scale=self.gamma.value if self.scale else tf.ones_like(offset),
      offset=offset,
      mean=tf.zeros([0]) if of_batch else self.moving_mean.value,
      variance=tf.zeros([0]) if of_batch else self.moving_variance.value,
      epsilon=self.epsilon,
      is_training=of_batch,
    )
    if of_batch:
      self._follow(result, inputs)
    return tf.cast(result.y, inputs.dtype)

  def _follow(self, result, inputs):
    """Moves the moving statistics towards those of a batch."""
    # The operation returns an unbiased estimate, and Keras' layer follows the
    # variance of the batch itself.
    count = tf.cast(tf.size(inputs) // inputs.shape[-1], tf.float32)
    variance = result.batch_variance * (count - 1.0) / count
    for moving, value in (
      (self.moving_mean, result.batch_mean),
      (self.moving_variance, variance),
    ):
      moving.assign(moving * self.momentum + value * (1.0 - self.momentum))


class FusedGelu(keras.layers.Activation):
  """Keras' activation "gelu", which XLA makes one pass over memory.

  As a graph GELU takes five operations forward and more backward, each of which
  reads and writes whole feature maps. The layer computes in float32: to round
  each value between to bfloat16 takes XLA twice as long on a CPU. The results
  are Keras', up to rounding.
  """

  def call(self, x: tf.Tensor) -> tf.Tensor:
    """Returns x times the probability that a normal variable is less."""
    return _gelu(x)


@tf.custom_gradient
def _gelu(x):
  return _gelu_forward(x), lambda upstream: _gelu_backward(x, upstream)


@tf.function(jit_compile=True, autograph=False)
def _gelu_forward(x):
  z = tf.cast(x, tf.float32)
  return tf.cast(z * _normal_probability(z), x.dtype)


@tf.function(jit_compile=True, autograph=False)
def _gelu_backward(x, upstream):
  z = tf.cast(x, tf.float32)
  density = tf.exp(-0.5 * z * z) * (2 * math.pi) ** -0.5
  slope = _normal_probability(z) + z * density
  return tf.cast(tf.cast(upstream, tf.float32) * slope, x.dtype)


def _normal_probability(x):
  """Returns the probability that a normal variable is less than x."""
  return 0.5 * (1.0 + tf.math.erf(x * 2**-0.5))


_OF_KERAS = {
  FusedBatchNormalization: keras.layers.BatchNormalization,
  FusedGelu: keras.layers.Activation,
  MatmulGradientConv2D: keras.layers.Conv2D,
}


def with_layers_of_keras(model: Any) -> keras.Model:
  """Returns a copy of a functional model that Keras alone can load."""

  def copy(layer):
    config = layer.get_config()
    if isinstance(layer, FusedBatchNormalization):
      del config["bias_rate"]
    return _OF_KERAS.get(type(layer), type(layer)).from_config(config)

  plain = keras.models.clone_model(model, clone_function=copy)
  plain.set_weights(model.get_weights())
  for layer in model.layers:
    if isinstance(layer, FusedBatchNormalization):
      beta = plain.get_layer(layer.name).beta
      beta.assign(layer.bias_factor * beta)
  return plain
