"""torchvision's input of ImageNet training, for peer_worker.py to time.

As in PyTorch's ImageNet example: a folder of class folders, a random resized
crop, a flip, floats, normalized, batches by a DataLoader with workers.
"""

import time
from collections.abc import Callable

import torch
from torchvision import datasets, transforms


def make_runner(
  folder: str, image_size: int, batch_size: int, workers: int
) -> Callable[[int], float]:
  """Returns a function that loads batches and returns the seconds of one.

  Args:
    folder: Holds a folder of images for each class.
    image_size: Height and width of the result.
    batch_size: Images in a batch.
    workers: Processes that load.
  """
  torch.set_num_threads(1)  # This process collects only.
  images = datasets.ImageFolder(
    folder,
    transforms.Compose(
      [
        transforms.RandomResizedCrop(image_size),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
      ]
    ),
  )
  sampler = _Sample(len(images))
  loader = torch.utils.data.DataLoader(
    images,
    batch_size,
    sampler=sampler,
    num_workers=workers,
    persistent_workers=True,
  )

  def run(steps):
    sampler.length = steps * batch_size
    started = time.perf_counter()
    for _ in loader:
      pass
    return (time.perf_counter() - started) / steps

  return run


class _Sample(torch.utils.data.Sampler):
  """So many indices in random order, each image as often as any other."""

  def __init__(self, size):
    self.size, self.length = size, 0

  def __len__(self):
    return self.length

  def __iter__(self):
    order = []
    while len(order) < self.length:
      order += torch.randperm(self.size).tolist()
    return iter(order[: self.length])
