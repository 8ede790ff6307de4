"""Which image it is that cannot be read."""

import tensorflow as tf
import tqdm

from trainers.errors import UserError, reason
from trainers.image_classification import decoding
from trainers.image_classification.splits import EncodedSplit


def find(split: EncodedSplit, records: tf.data.Dataset) -> UserError | None:
  """Reads and decodes records up to the first for which that fails.

  An operation that fails does not say on what. To let each image carry its name
  to it costs time in every step; to look again does only after an error.

  Args:
    split: Whose records they are.
    records: Those to look at, in the order in which to.

  Returns:
    An error with the name of the image, or None if all can be read.
  """

  def read(*record):
    example = split.load(*record)
    return tf.shape(decoding.decode(example.image, split.channels))[0]

  heights = records.map(
    read, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
  )
  readable = 0
  try:
    for _ in tqdm.tqdm(
      heights, desc="Looking for what cannot be read", unit="image"
    ):
      readable += 1
  except tf.errors.OpError as error:
    name = _name(split, records.skip(readable))
    if name is not None:
      return UserError(f"{name} cannot be read: {reason(error)}")
    return UserError(split.find_damage() or reason(error))
  return None


def _name(split, records):
  """Returns the name of the first record, or None if it has none itself."""
  try:
    for name in records.take(1).map(split.name):
      return name.numpy().decode(errors="replace")
  except tf.errors.OpError:
    return None
