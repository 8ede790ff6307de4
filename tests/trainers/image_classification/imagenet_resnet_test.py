import re

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from ml_collections import config_dict
from numpy.lib.stride_tricks import sliding_window_view

from tests import replicas
from trainers.errors import UserError
from trainers.image_classification import batch_norm
from trainers.image_classification.model import make_model


def _make(blocks, size=32, num_classes=7, width=64, synchronized=False):
  return make_model(
    config_dict.create(
      name="imagenet_resnet", width=width, blocks_per_stage=blocks
    ),
    image_shape=(size, size, 3),
    num_classes=num_classes,
    synchronized=synchronized,
  )


def _layers(model, kind):
  return [layer for layer in model.layers if isinstance(layer, kind)]


class _NumPyResNet:
  """ResNet of bottleneck blocks as torchvision has it, for inference.

  Args:
    model: Where to take weights from, in the order of its layers.
    blocks: Number of blocks in each stage.
  """

  def __init__(self, model, blocks):
    self._blocks = blocks
    self._weights = {
      layer.name: [np.array(v, "float64") for v in layer.variables]
      for layer in model.layers
      if layer.variables
    }

  def __call__(self, x):
    x = np.maximum(self._normalized(x, "conv1", stride=2), 0)
    x = _windows(x, 3, 2, fill=-np.inf).max((-2, -1))
    for stage, blocks in enumerate(self._blocks):
      for i in range(blocks):
        stride = 2 if stage and not i else 1
        x = self._block(x, f"stack{stage}_block{i}", stride, is_first=not i)
    kernel, bias = self._weights["logits"]
    return x.mean((1, 2)) @ kernel + bias

  def _block(self, x, name, stride, is_first):
    y = np.maximum(self._normalized(x, f"{name}_1"), 0)
    y = np.maximum(self._normalized(y, f"{name}_2", stride), 0)
    y = self._normalized(y, f"{name}_3")
    if is_first:
      x = self._normalized(x, f"{name}_0", stride)
    return np.maximum(x + y, 0)

  def _normalized(self, x, name, stride=1):
    (kernel,) = self._weights[f"{name}_conv"]
    windows = _windows(x, kernel.shape[0], stride)
    x = np.einsum("bhwcij,ijco->bhwo", windows, kernel, optimize=True)
    gamma, beta, mean, variance = self._weights[f"{name}_bn"]
    return (x - mean) / np.sqrt(variance + 1e-5) * gamma + beta


def _windows(x, size, stride, fill=0.0):
  """Returns what each output of a centred kernel sees, in the last two axes."""
  half = size // 2
  x = np.pad(
    x, [(0, 0), (half, half), (half, half), (0, 0)], constant_values=fill
  )
  return sliding_window_view(x, (size, size), (1, 2))[:, ::stride, ::stride]


class ImageNetResNetTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.parameters(
    (50, (3, 4, 6, 3), 25_557_032), (152, (3, 8, 36, 3), 60_192_808)
  )
  def test_layers_and_parameters(self, depth, blocks, parameters):
    model = _make(blocks, size=224, num_classes=1000)
    self.assertEqual(
      sum(np.prod(v.shape) for v in model.trainable_variables), parameters
    )
    # Without the shortcuts' convolutions, and with the dense layer.
    convolutions = [
      layer.name
      for layer in _layers(model, keras.layers.Conv2D)
      if not layer.name.endswith("_0_conv")
    ]
    self.assertLen(convolutions, depth - 1)
    self.assertEqual(model.output.shape, (None, 1000))

  def test_equals_a_model_in_numpy(self):
    random = np.random.default_rng(0)
    model = _make((2, 1))
    for v in model.variables:
      value = random.normal(size=v.shape)
      if re.search("gamma|variance", v.path):
        value = random.uniform(0.5, 1.5, v.shape)
      elif v.path.endswith("kernel"):
        value *= np.prod(v.shape[:-1]) ** -0.5
      v.assign(value)
    images = random.normal(size=(2, 32, 32, 3))
    self.assertAllClose(
      model(images, training=False),
      _NumPyResNet(model, (2, 1))(images),
      rtol=1e-4,
      atol=1e-4,
    )

  def test_begins_as_pytorchs(self):
    keras.utils.set_random_seed(0)
    model = _make((2, 1))
    for layer in _layers(model, keras.layers.Conv2D):
      height, width, _, filters = layer.kernel.shape
      expected = np.sqrt(2 / (height * width * filters))
      self.assertAllClose(np.std(layer.kernel), expected, rtol=0.05)
    for layer in _layers(model, keras.layers.BatchNormalization):
      self.assertAllEqual(layer.gamma, np.ones_like(layer.gamma))
    logits = model.get_layer("logits")
    limit = 512**-0.5
    for variable in (logits.kernel, logits.bias):
      self.assertLess(np.abs(variable).max(), limit)
      self.assertGreater(np.abs(variable).max(), 0.7 * limit)
    self.assertAllClose(np.std(logits.kernel), limit / np.sqrt(3), rtol=0.05)

  def test_batch_normalization(self):
    # PyTorch's momentum of .1 is Keras' of .9.
    layers = _layers(_make((1,)), keras.layers.BatchNormalization)
    self.assertLen(layers, 5)
    for layer in layers:
      self.assertEqual((layer.momentum, layer.epsilon), (0.9, 1e-5))
      self.assertFalse(layer.synchronized)

  def test_synchronized_over_replicas(self):
    images = np.random.default_rng(0).normal(size=(4, 32, 32, 3))
    images = images.astype("float32")
    keras.utils.set_random_seed(0)
    expected = _make((1,))(images, training=True)
    keras.utils.set_random_seed(0)
    strategy = replicas.mirrored()
    with strategy.scope():
      model = _make((1,), synchronized=True)
    parts = strategy.experimental_distribute_values_from_function(
      lambda context: tf.constant(
        np.split(images, 2)[context.replica_id_in_sync_group]
      )
    )
    run = tf.function(lambda x: strategy.run(model, (x,), {"training": True}))
    logits = strategy.gather(run(parts), axis=0)
    self.assertAllClose(logits, expected, rtol=1e-3, atol=1e-4)

  def test_in_mixed_precision(self):
    self.addCleanup(keras.config.set_dtype_policy, "float32")
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = _make((1,))
    self.assertEqual(model.get_layer("conv1_conv").compute_dtype, "bfloat16")
    self.assertEqual(model.output.dtype, "float32")
    for variable in model.variables:
      self.assertEqual(variable.dtype, "float32")

  def test_needs_keras_alone_to_be_loaded(self):
    saved = batch_norm.with_layers_of_keras(_make((1,)))
    for layer in saved.layers:
      self.assertStartsWith(type(layer).__module__, "keras.")

  def test_other_width(self):
    with self.assertRaisesRegex(UserError, "must be 64 .* Received: 16"):
      _make((1,), width=16)


if __name__ == "__main__":
  tf.test.main()
