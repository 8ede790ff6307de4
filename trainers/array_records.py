"""Examples in TFDS's array_record files, which are read by their numbers."""

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
import tqdm

from trainers.errors import first_line

_AT_ONCE = 1024  # Records that are read together, in the order of the files.


class ArrayRecords:
  """The records of one split, numbered from 0.

  They are read in Python, by TFDS: TensorFlow has no operation for them.

  Args:
    builder: Of a data set that is prepared as array_record files.
    split: Name of the split, or a part of one such as "train[:1000]".
  """

  def __init__(self, builder: tfds.core.DatasetBuilder, split: str):
    self._source = builder.as_data_source(
      split=split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES
    )
    files = builder.info.splits[split].file_instructions
    self._paths = [str(file.filename) for file in files]
    # What is to be added to a number to get the place in the file.
    ends = np.cumsum([file.take for file in files])
    starts = ends - [file.take for file in files]
    self._ends, self._shifts = ends, [f.skip for f in files] - starts

  def __len__(self) -> int:
    return len(self._source)

  def numbers(
    self, host: int, hosts: int, seed: tf.Tensor | None
  ) -> tf.data.Dataset:
    """Returns the numbers of one of `hosts` parts, int64 scalars.

    Args:
      host: Which part, from 0.
      hosts: How many parts there are. Their sizes differ by one at most.
      seed: int64 scalar that decides the order of all of them; None for theirs.
    """
    size = len(self)
    first, end = size * host // hosts, size * (host + 1) // hosts
    numbers = tf.data.Dataset.range(first, end)
    if seed is None:
      return numbers
    return numbers.shuffle(
      max(1, end - first), seed=seed, reshuffle_each_iteration=False
    )

  def read(self, number: tf.Tensor) -> tf.Tensor:
    """Returns a record as it is stored, a string scalar."""
    # Without state: then several are read at once, also with --deterministic.
    record = tf.numpy_function(self._read, [number], tf.string, stateful=False)
    return tf.ensure_shape(record, ())

  def dataset(self) -> tf.data.Dataset:
    """Returns all records in their order, string scalars."""
    return (
      tf.data.Dataset.range(len(self))
      .batch(_AT_ONCE)
      .map(
        lambda numbers: tf.ensure_shape(
          tf.numpy_function(
            self._read_all, [numbers], tf.string, stateful=False
          ),
          (None,),
        ),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
      )
      .unbatch()
    )

  def place(self, number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the path of a record's file, and its number there from 0."""
    file = tf.searchsorted(self._ends, number[tf.newaxis], side="right")[0]
    return tf.gather(self._paths, file), number + tf.gather(self._shifts, file)

  def find_damage(self) -> str | None:
    """Reads all records; returns a sentence on the first that is damaged."""
    for number in tqdm.trange(
      len(self), desc="Looking for the damage", unit="record"
    ):
      try:
        self._source[number]
      except Exception as error:  # See _read.
        path, index = self.place(tf.constant(number, tf.int64))
        return (
          f"{path.numpy().decode()} is damaged at record {index}, counted from "
          f"0: {first_line(error)}"
        )
    return None

  def _read(self, number):
    return self._as_input(lambda: self._source[int(number)])

  def _read_all(self, numbers):
    return self._as_input(lambda: self._source.__getitems__(numbers.tolist()))

  def _as_input(self, read):
    """Returns what `read` does, an error being one of the input."""
    try:
      return np.array(read(), dtype=object)
    # The package's readers raise RuntimeError, ValueError, IndexError and more.
    except Exception as error:
      raise ValueError(first_line(error)) from None
