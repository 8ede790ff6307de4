"""ResNets for large images, as in PyTorch's ImageNet example.

keras-hub has their layers: the stride of a block is in its 3x3 convolution,
padding is on both sides, convolutions have no bias, and batch normalization has
momentum .9 and epsilon 1e-5. It has neither PyTorch's initialization nor
synchronized batch normalization; both come in here.
"""

from typing import Any

import keras
import ml_collections

from trainers.errors import UserError
from trainers.image_classification import initialization
from trainers.image_classification.batch_norm import FusedBatchNormalization


def make_features(
  images: Any, config: ml_collections.ConfigDict, synchronized: bool
) -> Any:
  """Returns the feature maps of `images` before they are averaged.

  ResNet-50 has (3, 4, 6, 3) blocks, ResNet-152 (3, 8, 36, 3).

  Args:
    images: Symbolic, of shape (batch, height, width, channels).
    config: Fields `blocks_per_stage`, and `width`, which is always 64.
    synchronized: As in `model.make_model`.

  Returns:
    Symbolic, of shape (batch, height / 2**(n + 1), width / 2**(n + 1),
    256 * 2**(n - 1)), with n stages.

  Raises:
    UserError: for another width.
  """
  if config.width != 64:
    raise UserError(
      "model.width must be 64 for model.name='imagenet_resnet'. Received: "
      f"{config.width}"
    )
  import keras_hub  # Takes seconds, which other models need not wait for.

  stages = range(len(config.blocks_per_stage))
  backbone = keras_hub.models.ResNetBackbone(
    input_conv_filters=[64],
    input_conv_kernel_sizes=[7],
    stackwise_num_filters=[64 * 2**stage for stage in stages],
    stackwise_num_blocks=list(config.blocks_per_stage),
    stackwise_num_strides=[2 if stage else 1 for stage in stages],
    block_type="bottleneck_block",
    image_shape=images.shape[1:],
  )

  def remake(layer):
    kind, changes = type(layer), {}
    if isinstance(layer, keras.layers.Conv2D):
      changes["kernel_initializer"] = initialization.of_convolution()
    if isinstance(layer, keras.layers.BatchNormalization):
      kind = FusedBatchNormalization
      changes["synchronized"] = synchronized
    return kind.from_config(layer.get_config() | changes)

  # Layer by layer: to load the saved model nobody needs keras-hub.
  return keras.models.clone_model(
    backbone, input_tensors=images, clone_function=remake
  ).output
