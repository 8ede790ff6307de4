"""Models of images."""

import dataclasses

import keras
from keras import layers

from trainers.image_classification import fast_layers, speedrun


@dataclasses.dataclass(frozen=True)
class Architecture:
  """What a model of images is made of.

  Attributes:
    name: "cnn", "cifar_resnet", "imagenet_resnet" or "speedrun", a key of
      FEATURES.
    width: Channels of the first stage; 64 in an "imagenet_resnet".
    blocks_per_stage: Blocks in each stage of a ResNet. (3, 4, 6, 3) makes the
      ResNet-50 of an "imagenet_resnet", (3, 8, 36, 3) its ResNet-152.
    image_shape: (height, width, channels).
    num_classes: Number of labels.
    synchronized: Whether to normalize with the statistics of the global batch,
      not of one replica's part: then the number of replicas does not change the
      model.
    batch_norm_momentum: Share of the moving statistics of batch normalization
      that a step keeps.
    batch_norm_bias_rate: Learning rate of the biases of batch normalization
      with SGD, as a multiple of the others'; see
      `fast_layers.FusedBatchNormalization`.
    logit_scale: Multiplies the logits.
    tuned_for_cpu: Whether to make layers that are faster on a CPU, in a graph
      of which XLA compiles parts; see `devices.uses_xla_within`.
  """

  name: str
  width: int
  blocks_per_stage: tuple[int, ...]
  image_shape: tuple[int, int, int]
  num_classes: int
  synchronized: bool = False
  batch_norm_momentum: float = 0.9
  batch_norm_bias_rate: float = 1.0
  logit_scale: float = 1.0
  tuned_for_cpu: bool = False


def make_model(architecture: Architecture) -> keras.Model:
  """Returns the model of an architecture.

  The model takes float32 images (batch, height, width, channels) and returns
  float32 logits (batch, num_classes).
  """
  name = architecture.name
  inputs = keras.Input(architecture.image_shape, dtype="float32", name="image")
  features = FEATURES[name](inputs, architecture)
  features = layers.GlobalAveragePooling2D()(features)
  initializers = {}
  if name in ("imagenet_resnet", "speedrun"):
    initializers = _of_linear(features.shape[-1])
  logits = layers.Dense(
    architecture.num_classes,
    use_bias=name != "speedrun",
    dtype="float32",
    name="logits",
    **initializers,
  )(features)
  if architecture.logit_scale != 1.0:
    logits = layers.Rescaling(architecture.logit_scale, dtype="float32")(logits)
  return keras.Model(inputs, logits, name=name)


def _cnn(x, architecture):
  """Three 3x3 convolutions with one pooling: enough for 8x8 digits."""
  for i, factor in enumerate((1, 2, 2)):
    x = _convolution(
      x, architecture, architecture.width * factor, name=f"conv{i}"
    )
    x = _normalized(x, architecture, name=f"conv{i}")
    x = layers.ReLU()(x)
    if i == 1:
      x = layers.MaxPooling2D()(x)
  return x


def _cifar_resnet(x, architecture):
  """ResNet of basic blocks for 32x32 images (He et al. 2016, section 4.2).

  Width 64 and (2, 2, 2, 2) blocks is the wide CIFAR form of ResNet-18: a 3x3
  stem without pooling, then 64, 128, 256 and 512 channels.
  """
  x = _convolution(x, architecture, architecture.width, name="stem")
  x = layers.ReLU()(_normalized(x, architecture, name="stem"))
  return _stages(x, architecture, _basic_block)


def _imagenet_resnet(x, architecture):
  """ResNet of bottleneck blocks for photos (He et al. 2016, table 1).

  As in PyTorch's ImageNet example: the stride of a block is in its 3x3
  convolution, padding is on both sides, convolutions have no bias, and batch
  normalization has momentum .9 and epsilon 1e-5.
  """
  x = _convolution(
    x, architecture, architecture.width, kernel_size=7, strides=2, name="stem"
  )
  x = layers.ReLU()(_normalized(x, architecture, name="stem"))
  x = layers.MaxPooling2D(3, 2)(layers.ZeroPadding2D(1)(x))
  return _stages(x, architecture, _bottleneck_block)


def _speedrun(x, architecture):
  """The network of CIFAR-10 speed runs; see speedrun.py."""

  def normalized(x, *, name):
    return _normalized(x, architecture, name=name, scale=False, epsilon=1e-12)

  return speedrun.features(
    x, architecture.width, normalized, architecture.tuned_for_cpu
  )


def _stages(x, architecture, make_block):
  """Returns the blocks of all stages; each but the first halves the size."""
  for stage, blocks in enumerate(architecture.blocks_per_stage):
    for block in range(blocks):
      x = make_block(
        x,
        architecture.width * 2**stage,
        2 if stage > 0 and block == 0 else 1,
        architecture,
        name=f"stage{stage}_block{block}",
      )
  return x


def _basic_block(x, filters, strides, architecture, *, name):
  """Two 3x3 convolutions around which the input is added."""
  shortcut = _shortcut(x, filters, strides, architecture, name)
  x = _convolution(
    x, architecture, filters, strides=strides, name=f"{name}_conv0"
  )
  x = layers.ReLU()(_normalized(x, architecture, name=f"{name}_conv0"))
  x = _convolution(x, architecture, filters, name=f"{name}_conv1")
  x = _normalized(x, architecture, name=f"{name}_conv1")
  return layers.ReLU(name=name)(layers.Add()([x, shortcut]))


def _bottleneck_block(x, filters, strides, architecture, *, name):
  """A 1x1, a 3x3 and a 1x1 convolution; the last has 4 x `filters` channels."""
  shortcut = _shortcut(x, 4 * filters, strides, architecture, name)
  for i, (size, stride, channels) in enumerate(
    ((1, 1, filters), (3, strides, filters), (1, 1, 4 * filters))
  ):
    conv = f"{name}_conv{i}"
    x = _convolution(
      x, architecture, channels, kernel_size=size, strides=stride, name=conv
    )
    x = _normalized(x, architecture, name=conv)
    if i < 2:
      x = layers.ReLU()(x)
  return layers.ReLU(name=name)(layers.Add()([x, shortcut]))


def _shortcut(x, filters, strides, architecture, name):
  """Returns the input of a block in the shape of its output."""
  if strides == 1 and x.shape[-1] == filters:
    return x
  x = _convolution(
    x,
    architecture,
    filters,
    kernel_size=1,
    strides=strides,
    name=f"{name}_shortcut",
  )
  return _normalized(x, architecture, name=f"{name}_shortcut")


def _convolution(x, architecture, filters, *, kernel_size=3, strides=1, name):
  if strides == 1:
    padding = "same"
  else:
    # "same" would pad at the far end only, where PyTorch pads on both sides.
    padding = "valid"
    if kernel_size > 1:
      x = layers.ZeroPadding2D(kernel_size // 2)(x)
  is_tuned = architecture.tuned_for_cpu
  kind = fast_layers.MatmulGradientConv2D if is_tuned else layers.Conv2D
  return kind(
    filters,
    kernel_size,
    strides=strides,
    padding=padding,
    use_bias=False,
    # He's normal distribution by fan-out (He et al. 2015, equation 14), as
    # PyTorch's image classification examples have it.
    kernel_initializer=keras.initializers.VarianceScaling(
      2.0, mode="fan_out", distribution="untruncated_normal"
    ),
    name=name,
  )(x)


def _normalized(x, architecture, *, name, scale=True, epsilon=1e-5):
  return fast_layers.FusedBatchNormalization(
    bias_rate=architecture.batch_norm_bias_rate,
    momentum=architecture.batch_norm_momentum,
    epsilon=epsilon,
    scale=scale,
    synchronized=architecture.synchronized,
    name=f"{name}_norm",
  )(x)


def _of_linear(fan_in):
  """Returns arguments of a Dense layer for the default of PyTorch's Linear.

  Kernel and bias are uniform between -1/sqrt(fan_in) and 1/sqrt(fan_in).
  """
  limit = fan_in**-0.5
  return {
    f"{name}_initializer": keras.initializers.RandomUniform(-limit, limit)
    for name in ("kernel", "bias")
  }


FEATURES = {
  "cnn": _cnn,
  "cifar_resnet": _cifar_resnet,
  "imagenet_resnet": _imagenet_resnet,
  "speedrun": _speedrun,
}
