"""Training steps of image classifiers in PyTorch, for peer_worker.py to time.

The models are those of our trainers, layer by layer: the wide CIFAR form of
ResNet-18, and ResNet-50. Batches stay in memory, and are random.
"""

import time
from collections.abc import Callable

import torch
from torch import nn


class Block(nn.Module):
  """A residual block.

  Args:
    body: What is added to the shortcut.
    inputs: Channels that come in.
    outputs: Channels that go out.
    stride: Of the block.
  """

  def __init__(self, body: nn.Module, inputs: int, outputs: int, stride: int):
    super().__init__()
    self.body = body
    self.shortcut = nn.Identity()
    if stride != 1 or inputs != outputs:
      self.shortcut = _normalized(inputs, outputs, 1, stride)
    self.relu = nn.ReLU(inplace=True)

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    """Returns the block's output for (batch, channels, height, width)."""
    return self.relu(self.body(x) + self.shortcut(x))


def _normalized(inputs, outputs, kernel_size, stride=1, relu=False):
  layers = [
    nn.Conv2d(
      inputs, outputs, kernel_size, stride, kernel_size // 2, bias=False
    ),
    nn.BatchNorm2d(outputs),
  ]
  if relu:
    layers.append(nn.ReLU(inplace=True))
  return nn.Sequential(*layers)


def _basic_block(inputs, width, stride):
  body = nn.Sequential(
    _normalized(inputs, width, 3, stride, relu=True),
    _normalized(width, width, 3),
  )
  return Block(body, inputs, width, stride)


def _bottleneck_block(inputs, width, stride):
  body = nn.Sequential(
    _normalized(inputs, width, 1, relu=True),
    _normalized(width, width, 3, stride, relu=True),
    _normalized(width, 4 * width, 1),
  )
  return Block(body, inputs, 4 * width, stride)


def _resnet(stem, block, blocks_per_stage, expansion, classes):
  layers, channels = [stem], 64
  for stage, blocks in enumerate(blocks_per_stage):
    for index in range(blocks):
      width = 64 * 2**stage
      stride = 2 if stage > 0 and index == 0 else 1
      layers.append(block(channels, width, stride))
      channels = expansion * width
  pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
  return nn.Sequential(*layers, pool, nn.Linear(channels, classes))


def _resnet18():
  stem = _normalized(3, 64, 3, relu=True)
  return _resnet(stem, _basic_block, (2, 2, 2, 2), 1, 10)


def _resnet50():
  stem = nn.Sequential(
    _normalized(3, 64, 7, 2, relu=True), nn.MaxPool2d(3, 2, 1)
  )
  return _resnet(stem, _bottleneck_block, (3, 4, 6, 3), 4, 1000)


# Models, and the sides of their images.
MODELS = {"resnet18": (_resnet18, 32), "resnet50": (_resnet50, 224)}


def make_runner(
  model: str, batch_size: int, threads: int, compiles: bool = False
) -> Callable[[int], float]:
  """Returns a function that trains, and returns the seconds of a step.

  Its argument is the number of steps; the time is their mean. All is as
  PyTorch's own advice for CPUs has it: channels last, SGD in one kernel.

  Args:
    model: A key of MODELS.
    batch_size: Images in a step.
    threads: That an operation may use.
    compiles: Whether to use `torch.compile`.
  """
  torch.set_num_threads(threads)
  torch.manual_seed(0)
  make, size = MODELS[model]
  network = make().to(memory_format=torch.channels_last)
  images = torch.rand(batch_size, 3, size, size)
  images = images.to(memory_format=torch.channels_last)
  labels = torch.randint(network[-1].out_features, (batch_size,))
  criterion = nn.CrossEntropyLoss()
  optimizer = torch.optim.SGD(
    network.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4, fused=True
  )
  forward = torch.compile(network) if compiles else network

  def run(steps):
    started = time.perf_counter()
    for _ in range(steps):
      optimizer.zero_grad()
      criterion(forward(images), labels).backward()
      optimizer.step()
    return (time.perf_counter() - started) / steps

  return run
