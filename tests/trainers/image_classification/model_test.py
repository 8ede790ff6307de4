import re

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from numpy.lib.stride_tricks import sliding_window_view

from tests import replicas
from trainers.image_classification import fast_layers
from trainers.image_classification.model import Architecture, make_model


def _cifar_resnet(width=64, blocks=(2, 2, 2, 2)):
  return make_model(
    Architecture("cifar_resnet", width, blocks, (32, 32, 3), num_classes=10)
  )


class SmallModelsTest(tf.test.TestCase):
  def test_wide_resnet_18_has_its_parameters(self):
    # Counted by hand for the wide CIFAR form: a stem of 3*3*3*64; blocks of
    # 3x3 convolutions; 1x1 shortcuts where the width doubles; a scale and an
    # offset after each convolution; one dense layer.
    def block(i, o):
      shortcut = i * o + 2 * o if i != o else 0
      return 9 * i * o + 9 * o * o + 4 * o + shortcut

    expected = 27 * 64 + 2 * 64 + 512 * 10 + 10
    for i, o in ((64, 64), (64, 128), (128, 256), (256, 512)):
      expected += block(i, o) + block(o, o)
    self.assertEqual(expected, 11_173_962)
    model = _cifar_resnet()
    self.assertEqual(
      sum(np.prod(v.shape) for v in model.trainable_variables), expected
    )

  def test_shapes(self):
    for model in (
      _cifar_resnet(width=4, blocks=(1, 1, 1)),
      make_model(Architecture("cnn", 4, (), (8, 8, 1), num_classes=10)),
    ):
      shape = model.input_shape[1:]
      logits = model(tf.zeros((2, *shape)), training=True)
      self.assertEqual(logits.shape, (2, 10))
      self.assertEqual(logits.dtype, tf.float32)

  def test_strides_halve_each_stage_but_the_first(self):
    model = _cifar_resnet(width=4)
    for stage, size in enumerate((32, 16, 8, 4)):
      layer = model.get_layer(f"stage{stage}_block1")
      self.assertEqual(layer.output.shape[1:3], (size, size))

  def test_strided_convolution_is_centred_as_in_pytorch(self):
    # With one pixel of zeros on each side, output (0, 0) sees input (1, 1) at
    # the far corner of its 3x3 window; with Keras' "same" it would see (2, 2).
    model = _cifar_resnet(width=1, blocks=(1, 1))
    layer = model.get_layer("stage1_block0_conv0")
    self.assertEqual(layer.padding, "valid")
    self.assertEqual(layer.input.shape[1:3], (34, 34))


def _imagenet_resnet(blocks, size=32, num_classes=7, synchronized=False):
  return make_model(
    Architecture(
      "imagenet_resnet",
      width=64,
      blocks_per_stage=blocks,
      image_shape=(size, size, 3),
      num_classes=num_classes,
      synchronized=synchronized,
    )
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
    x = np.maximum(self._normalized(x, "stem", stride=2), 0)
    x = _windows(x, 3, 2, fill=-np.inf).max((-2, -1))
    for stage, blocks in enumerate(self._blocks):
      for i in range(blocks):
        stride = 2 if stage and not i else 1
        x = self._block(x, f"stage{stage}_block{i}", stride, is_first=not i)
    kernel, bias = self._weights["logits"]
    return x.mean((1, 2)) @ kernel + bias

  def _block(self, x, name, stride, is_first):
    y = np.maximum(self._normalized(x, f"{name}_conv0"), 0)
    y = np.maximum(self._normalized(y, f"{name}_conv1", stride), 0)
    y = self._normalized(y, f"{name}_conv2")
    if is_first:
      x = self._normalized(x, f"{name}_shortcut", stride)
    return np.maximum(x + y, 0)

  def _normalized(self, x, name, stride=1):
    (kernel,) = self._weights[name]
    windows = _windows(x, kernel.shape[0], stride)
    x = np.einsum("bhwcij,ijco->bhwo", windows, kernel, optimize=True)
    gamma, beta, mean, variance = self._weights[f"{name}_norm"]
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
    model = _imagenet_resnet(blocks, size=224, num_classes=1000)
    self.assertEqual(
      sum(np.prod(v.shape) for v in model.trainable_variables), parameters
    )
    # Without the shortcuts' convolutions, and with the dense layer.
    convolutions = [
      layer.name
      for layer in _layers(model, keras.layers.Conv2D)
      if not layer.name.endswith("_shortcut")
    ]
    self.assertLen(convolutions, depth - 1)
    self.assertEqual(model.output.shape, (None, 1000))

  def test_equals_a_model_in_numpy(self):
    random = np.random.default_rng(0)
    model = _imagenet_resnet((2, 1))
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
    model = _imagenet_resnet((2, 1))
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
    layers = _layers(_imagenet_resnet((1,)), keras.layers.BatchNormalization)
    self.assertLen(layers, 5)
    for layer in layers:
      self.assertEqual((layer.momentum, layer.epsilon), (0.9, 1e-5))
      self.assertFalse(layer.synchronized)

  def test_synchronized_over_replicas(self):
    images = np.random.default_rng(0).normal(size=(4, 32, 32, 3))
    images = images.astype("float32")
    keras.utils.set_random_seed(0)
    expected = _imagenet_resnet((1,))(images, training=True)
    keras.utils.set_random_seed(0)
    strategy = replicas.mirrored()
    with strategy.scope():
      model = _imagenet_resnet((1,), synchronized=True)
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
    model = _imagenet_resnet((1,))
    self.assertEqual(model.get_layer("stem").compute_dtype, "bfloat16")
    self.assertEqual(model.output.dtype, "float32")
    for variable in model.variables:
      self.assertEqual(variable.dtype, "float32")

  def test_needs_keras_alone_to_be_loaded(self):
    saved = fast_layers.with_layers_of_keras(_imagenet_resnet((1,)))
    for layer in saved.layers:
      self.assertStartsWith(type(layer).__module__, "keras.")


if __name__ == "__main__":
  tf.test.main()
