"""Writes images in each of the layouts that the image trainer reads."""

import os

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds


def write_image(path, color, size=(6, 8)):
  """Writes a PNG of one color."""
  os.makedirs(os.path.dirname(path), exist_ok=True)
  image = np.broadcast_to(np.uint8(color), (*size, 3))
  tf.io.write_file(path, tf.io.encode_png(image))


def write_tfrecords(directory, split, images, files, labels=None):
  """Writes ImageNet's classic layout.

  Args:
    directory: Made if needed.
    split: What the names of the files begin with.
    images: Encoded ones.
    files: How many to write, with the images in turn.
    labels: 1 to 1000; by default 1, 2, ...
  """
  os.makedirs(directory, exist_ok=True)
  for shard in range(files):
    path = os.path.join(directory, f"{split}-{shard:05}-of-{files:05}")
    with tf.io.TFRecordWriter(path) as writer:
      for i in range(shard, len(images), files):
        label = labels[i] if labels is not None else i + 1
        features = {
          "image/encoded": _bytes(images[i]),
          "image/class/label": tf.train.Feature(
            int64_list=tf.train.Int64List(value=[label])
          ),
          "image/filename": _bytes(f"{split}_{i}.JPEG".encode()),
          "image/height": _bytes(b"not read"),
        }
        example = tf.train.Example(features=tf.train.Features(feature=features))
        writer.write(example.SerializeToString())


def _bytes(value):
  return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def write_tfds(
  data_dir, name, features, splits, files=1, file_format="tfrecord"
):
  """Writes a data set in the format of TFDS.

  Args:
    data_dir: TFDS's.
    name: Of the data set.
    features: Its features by name.
    splits: For each split the values of each feature.
    files: How many of each split.
    file_format: That of the files.
  """

  def as_dataset(columns):
    return tf.data.Dataset.from_generator(
      lambda: (dict(zip(columns, row)) for row in zip(*columns.values())),
      output_signature={
        key: tf.TensorSpec(np.shape(values[0]), tf.constant(values[0]).dtype)
        for key, values in columns.items()
      },
    )

  tfds.dataset_builders.store_as_tfds_dataset(
    name=name,
    version="5.1.0",
    features=tfds.features.FeaturesDict(features),
    split_datasets={key: as_dataset(value) for key, value in splits.items()},
    data_dir=data_dir,
    file_format=file_format,
    download_config=tfds.download.DownloadConfig(num_shards=files),
  )


def write_imagenet(data_dir, images, files=3, file_format="tfrecord"):
  """Writes encoded images as TFDS's imagenet2012, labelled 0, 1, ..."""
  write_tfds(
    data_dir,
    "imagenet2012",
    {
      "image": tfds.features.Image(encoding_format="jpeg"),
      "label": tfds.features.ClassLabel(num_classes=1000),
      "file_name": tfds.features.Text(),
    },
    {
      split: {
        "image": images,
        "label": list(range(len(images))),
        "file_name": [f"{split}_{i}.JPEG" for i in range(len(images))],
      }
      for split in ("train", "validation")
    },
    files,
    file_format,
  )
