"""Models of images."""

import keras
import ml_collections
from keras import layers

from trainers.errors import UserError
from trainers.image_classification import (
  batch_norm,
  imagenet_resnet,
  initialization,
)


def make_model(
  config: ml_collections.ConfigDict,
  *,
  image_shape: tuple[int, int, int],
  num_classes: int,
  synchronized: bool = False,
) -> keras.Model:
  """Returns the model that `config`, a config's `model`, describes.

  Args:
    config: Fields `name` ("cnn", "cifar_resnet" or "imagenet_resnet"), `width`
      and, for a ResNet, `blocks_per_stage`.
    image_shape: (height, width, channels).
    num_classes: Number of labels.
    synchronized: Normalize with the statistics of the global batch, not of one
      replica's part: then the number of replicas does not change the model.

  Returns:
    A model from float32 images (batch, height, width, channels) to float32
    logits (batch, num_classes).

  Raises:
    UserError: if there is no such model, or not of that width.
  """
  makers = {
    "cnn": _cnn,
    "cifar_resnet": _cifar_resnet,
    "imagenet_resnet": imagenet_resnet.make_features,
  }
  if config.name not in makers:
    raise UserError(
      f"model.name must be one of {sorted(makers)}. Received: {config.name!r}"
    )
  inputs = keras.Input(image_shape, dtype="float32", name="image")
  features = makers[config.name](inputs, config, synchronized)
  features = layers.GlobalAveragePooling2D()(features)
  initializers = {}
  if config.name == "imagenet_resnet":
    initializers = initialization.of_linear(features.shape[-1])
  logits = layers.Dense(
    num_classes, dtype="float32", name="logits", **initializers
  )(features)
  return keras.Model(inputs, logits, name=config.name)


def _cnn(x, config, synchronized):
  """Three 3x3 convolutions with one pooling: enough for 8x8 digits."""
  for i, factor in enumerate((1, 2, 2)):
    x = _convolution(x, config.width * factor, name=f"conv{i}")
    x = _normalized(x, synchronized, name=f"conv{i}")
    x = layers.ReLU()(x)
    if i == 1:
      x = layers.MaxPooling2D()(x)
  return x


def _cifar_resnet(x, config, synchronized):
  """ResNet of basic blocks for 32x32 images (He et al. 2016, section 4.2).

  Width 64 and (2, 2, 2, 2) blocks is the wide CIFAR form of ResNet-18: a 3x3
  stem without pooling, then 64, 128, 256 and 512 channels.
  """
  x = _convolution(x, config.width, name="stem")
  x = layers.ReLU()(_normalized(x, synchronized, name="stem"))
  for stage, blocks in enumerate(config.blocks_per_stage):
    for block in range(blocks):
      x = _basic_block(
        x,
        config.width * 2**stage,
        strides=2 if stage > 0 and block == 0 else 1,
        synchronized=synchronized,
        name=f"stage{stage}_block{block}",
      )
  return x


def _basic_block(x, filters, strides, synchronized, name):
  shortcut = x
  if strides != 1 or x.shape[-1] != filters:
    shortcut = _convolution(
      x, filters, kernel_size=1, strides=strides, name=f"{name}_shortcut"
    )
    shortcut = _normalized(shortcut, synchronized, name=f"{name}_shortcut")
  x = _convolution(x, filters, strides=strides, name=f"{name}_conv0")
  x = layers.ReLU()(_normalized(x, synchronized, name=f"{name}_conv0"))
  x = _convolution(x, filters, name=f"{name}_conv1")
  x = _normalized(x, synchronized, name=f"{name}_conv1")
  return layers.ReLU(name=name)(layers.Add()([x, shortcut]))


def _convolution(x, filters, *, kernel_size=3, strides=1, name):
  if strides == 1:
    padding = "same"
  else:
    # "same" would pad at the far end only, where PyTorch pads on both sides.
    padding = "valid"
    if kernel_size > 1:
      x = layers.ZeroPadding2D(kernel_size // 2)(x)
  return layers.Conv2D(
    filters,
    kernel_size,
    strides=strides,
    padding=padding,
    use_bias=False,
    kernel_initializer=initialization.of_convolution(),
    name=name,
  )(x)


def _normalized(x, synchronized, *, name):
  return batch_norm.FusedBatchNormalization(
    momentum=0.9, epsilon=1e-5, synchronized=synchronized, name=f"{name}_norm"
  )(x)
