"""CIFAR-10 in the binary files that its authors publish.

A file consists of records of 3,073 bytes: a label, then the red, the green and
the blue values of 32 rows of 32 pixels. data_batch_1.bin to data_batch_5.bin
hold 10,000 images to train on each, and test_batch.bin 10,000 to evaluate on.
"""

import os

import numpy as np
import tensorflow as tf

from trainers.errors import UserError
from trainers.files import tell_archives
from trainers.image_classification import splits
from trainers.image_classification.splits import Source

NAME = "cifar10_binary"
_FILES = {
  "train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
  "test": ("test_batch.bin",),
}
_CLASSES = (
  *("airplane", "automobile", "bird", "cat", "deer"),
  *("dog", "frog", "horse", "ship", "truck"),
)
_SIZE = 32
_RECORD_BYTES = 1 + 3 * _SIZE**2


def load(root: str | None, train_split: str, validation_split: str) -> Source:
  """Returns the images of the files in a folder.

  Args:
    root: The folder that holds the files.
    train_split: "train" or "test": what to train on.
    validation_split: Likewise: what to evaluate on.

  Raises:
    UserError: if a file is missing or has another size than whole records, a
      label is not of a class, or there is no such split.
  """
  if root is None:
    raise UserError(
      f"data.name={NAME!r} needs --data_dir, the folder that holds "
      f"{_FILES['train'][0]} and {_FILES['test'][0]}."
    )
  for field, split in (
    ("train_split", train_split),
    ("validation_split", validation_split),
  ):
    if split not in _FILES:
      raise UserError(
        f"data.{field} must be one of {[*_FILES]} for data.name={NAME!r}. "
        f"Received: {split!r}"
      )
  return Source(
    _read_split(root, train_split),
    _read_split(root, validation_split),
    class_names=_CLASSES,
    channels=3,
  )


def _read_split(root, split):
  records = np.concatenate(
    [_read(os.path.join(root, name)) for name in _FILES[split]]
  )
  pixels = records[:, 1:].reshape(-1, 3, _SIZE, _SIZE).transpose(0, 2, 3, 1)
  return splits.of_arrays(np.ascontiguousarray(pixels), records[:, 0])


def _read(path):
  """Returns the records of a file, uint8 (images, 3073)."""
  try:
    with tf.io.gfile.GFile(path, "rb") as file:
      contents = np.frombuffer(file.read(), "uint8")
  except tf.errors.OpError as error:
    archives = tell_archives(os.path.dirname(path))
    raise UserError(
      f"{path} cannot be read: {error.message}{archives}"
    ) from error
  if not len(contents) or len(contents) % _RECORD_BYTES:
    raise UserError(
      f"{path} must hold records of {_RECORD_BYTES:,} bytes each. Its size is "
      f"{len(contents):,} bytes."
    )
  records = contents.reshape(-1, _RECORD_BYTES)
  greatest = records[:, 0].max()
  if greatest >= len(_CLASSES):
    raise UserError(
      f"{path} has the label {greatest}, and labels of CIFAR-10 are less than "
      f"{len(_CLASSES)}."
    )
  return records
