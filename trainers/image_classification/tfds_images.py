"""Images of TensorFlow Datasets, prepared on disk."""

import functools
from collections.abc import Sequence

import tensorflow as tf
import tensorflow_datasets as tfds

from trainers import tfds_data
from trainers.errors import UserError
from trainers.image_classification import record_files
from trainers.image_classification.record_files import Extent
from trainers.image_classification.splits import Example, Source, Split
from trainers.tfds_data import ArrayRecords


def load(
  name: str,
  data_dir: str | None,
  train_split: str,
  validation_split: str,
  other_names: Sequence[str],
) -> Source:
  """Returns two splits of a data set, with its images as they were stored.

  Args:
    name: Of the data set, with one image and one label in an example.
    data_dir: TFDS's, or None for its default.
    train_split: A split such as "train" or "train[:90%]".
    validation_split: Likewise.
    other_names: What else the name might have been, for the error.

  Raises:
    UserError: if there is no such data set or split, if it is not prepared, or
      if it is not one of images to classify.
  """
  builder = tfds_data.load(name, data_dir, other_names)
  features = builder.info.features
  image_key = _find_key(features, tfds.features.Image, "image")
  label_key = _find_key(features, tfds.features.ClassLabel, "label")
  if not image_key or not label_key:
    raise UserError(
      f"data.name={name!r} is not an image classification data set: it has not "
      f"one image and one label, but {dict(features.items())}."
    )
  dtype = tf.as_dtype(features[image_key].np_dtype).name
  if dtype != "uint8":
    raise UserError(
      f"data.name={name!r} has images of {dtype}, which cannot be trained on: "
      "they must be of uint8."
    )
  channels = features[image_key].shape[-1] or 3
  parsers = _make_parsers(features, image_key, label_key)
  return Source(
    _split(builder, "train_split", train_split, parsers, channels),
    _split(builder, "validation_split", validation_split, parsers, channels),
    class_names=tuple(features[label_key].names),
    channels=channels,
  )


def _find_key(features, kind, usual):
  """Returns the key of the only feature of that kind, or None.

  The usual name decides between several: CIFAR-100 has coarse labels too.
  """
  keys = [key for key, value in features.items() if isinstance(value, kind)]
  if len(keys) == 1:
    return keys[0]
  return usual if usual in keys else None


def _make_parsers(features, image_key, label_key):
  """Returns two functions of a record, a string scalar.

  The first returns the record's Example. The second returns the record's name
  in the data set, and is None if records have no names there.
  """
  decoders = {image_key: tfds.decode.SkipDecoding()}

  def parse(record, *wanted):
    partial = tfds.decode.PartialDecoding(set(wanted))
    return partial.extract_features(features).deserialize_example(
      record, decoders={k: v for k, v in decoders.items() if k in wanted}
    )

  def load(record):
    example = parse(record, image_key, label_key)
    return Example(example[image_key], tf.cast(example[label_key], tf.int32))

  def name(record):
    return parse(record, "file_name")["file_name"]

  return load, name if "file_name" in features else None


def _split(builder, field, name, parsers, channels):
  split = tfds_data.split(builder, f"data.{field}", name)
  extents = [
    Extent(i.filename, i.skip, i.take) for i in split.file_instructions
  ]
  if tfds_data.is_array_record(builder):
    records = ArrayRecords(builder, name)
    return _split_of_array_records(records, *parsers, channels, extents)
  load, name_of = parsers
  read_file = tfds.core.file_adapters.ADAPTER_FOR_FORMAT[
    builder.info.file_format
  ].make_tf_data
  return record_files.make_split(
    extents,
    lambda record, path, index: load(record),
    lambda record, path, index: (
      name_of(record) if name_of else record_files.name_of(path, index)
    ),
    channels,
    read_file,
  )


def _split_of_array_records(records, load, name_of, channels, extents):
  """Returns a split that shuffles and skips numbers instead of records."""

  def name(number):
    if name_of:
      return name_of(records.read(number))
    return record_files.name_of(*records.place(number))

  def numbers(host, hosts, seed, buffer):
    del buffer  # All of them, whatever the buffer: they are numbers.
    return records.numbers(host, hosts, seed).map(lambda number: (number,))

  return Split(
    len(records),
    numbers,
    lambda number: load(records.read(number)),
    name,
    channels,
    find_damage=records.find_damage,
    fingerprint=functools.cache(lambda: record_files.fingerprint(extents)),
  )
