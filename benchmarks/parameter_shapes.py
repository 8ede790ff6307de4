"""The shapes of the trainable parameters of well-known models.

The time of an optimizer's step depends on them alone, so that no model needs
to be built to measure it.
"""

import math
from collections.abc import Sequence

Shape = tuple[int, ...]


def count(shapes: Sequence[Shape]) -> int:
  """Returns the number of parameters in tensors of these shapes."""
  return sum(math.prod(shape) for shape in shapes)


def resnet50() -> list[Shape]:
  """Returns the shapes of ResNet-50 for ImageNet, in torchvision's form.

  He et al. 2016 (https://arxiv.org/abs/1512.03385), Table 1: bottleneck blocks,
  each convolution followed by a normalization with gamma and beta. Kernels are
  (height, width, channels in, channels out).
  """
  shapes = _convolution(7, 3, 64)
  channels = 64
  for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
    for block in range(blocks):
      shapes += _convolution(1, channels, width)
      shapes += _convolution(3, width, width)
      shapes += _convolution(1, width, 4 * width)
      if block == 0:
        shapes += _convolution(1, channels, 4 * width)  # The shortcut.
      channels = 4 * width
  return [*shapes, (channels, 1000), (1000,)]


def _convolution(size, channels_in, channels_out):
  kernel = (size, size, channels_in, channels_out)
  return [kernel, (channels_out,), (channels_out,)]


def transformer_base(vocabulary: int = 2**15) -> list[Shape]:
  """Returns the shapes of Transformer-base, in tensor2tensor's form.

  Vaswani et al. 2017 (https://arxiv.org/abs/1706.03762), Table 3: 6 layers on
  each side, model size 512, inner size 2048. tensor2tensor's `transformer_base`
  normalizes before each sublayer and at the end of each side; projections to
  and from the 8 heads of 64 are matrices without bias; one matrix is the
  embedding of source and target and the output layer.

  Args:
    vocabulary: Number of subwords of source and target together.
  """
  size, inner, layers = 512, 2048, 6
  norm = [(size,), (size,)]
  attention = [*norm, *[(size, size)] * 4]  # Query, key, value, output.
  feed_forward = [*norm, (size, inner), (inner,), (inner, size), (size,)]
  encoder = (attention + feed_forward) * layers + norm
  decoder = (attention * 2 + feed_forward) * layers + norm
  return [(vocabulary, size), *encoder, *decoder]


def tiny() -> list[Shape]:
  """Returns a few small shapes, to try a program out."""
  return [(64, 32), (32,), (32, 10), (10,)]


MODELS = {
  "resnet50": resnet50,
  "transformer_base": transformer_base,
  "tiny": tiny,
}
