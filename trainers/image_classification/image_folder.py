"""Images in class folders: SPLIT/CLASS/*.jpg, read by TFDS's folder builder."""

import os

import tensorflow as tf
import tensorflow_datasets as tfds

from trainers.errors import UserError

_SUFFIXES = (".jpg", ".jpeg", ".png")  # Those that tfds.ImageFolder looks for.


def make_builder(
  root: str | None, train_split: str, validation_split: str
) -> tfds.ImageFolder:
  """Returns a builder after a check that both splits hold the same classes.

  Args:
    root: The directory that holds a directory for each split.
    train_split: Name of the directory to train on.
    validation_split: Name of the directory to evaluate on.

  Raises:
    UserError: if a directory is missing or empty, or holds a class that the
      other split lacks.
  """
  layout = f"{train_split}/CLASS/*.jpg and {validation_split}/CLASS/*.jpg"
  if not root:
    raise UserError(
      f"data.name='image_folder' needs --data_dir, a folder with {layout}."
    )
  classes = {}
  for split in (train_split, validation_split):
    path = os.path.join(root, split)
    if not tf.io.gfile.isdir(path):
      raise UserError(
        f"{path} is not a directory: --data_dir must hold {layout}."
      )
    classes[split] = _classes_with_images(path)
    if not classes[split]:
      raise UserError(
        f"{path} holds no images: --data_dir must hold {layout}, with names "
        f"that end in one of {_SUFFIXES}."
      )
  for one, other in (
    (train_split, validation_split),
    (validation_split, train_split),
  ):
    missing = sorted(classes[one] - classes[other])
    if missing:
      raise UserError(
        f"The classes {missing} have images in {os.path.join(root, one)} but "
        f"none in {os.path.join(root, other)}."
      )
  return tfds.ImageFolder(root)


def _classes_with_images(path):
  return {
    name.rstrip("/")
    for name in tf.io.gfile.listdir(path)
    if tf.io.gfile.isdir(os.path.join(path, name))
    and any(
      file.lower().endswith(_SUFFIXES)
      for file in tf.io.gfile.listdir(os.path.join(path, name))
    )
  }


def read(builder: tfds.ImageFolder, split: str) -> tf.data.Dataset:
  """Returns pairs (image, label): uint8 (height, width, 3), int64 scalar."""
  return _files(builder, split).map(
    lambda data, label, path: (_decode(data), label),
    num_parallel_calls=tf.data.AUTOTUNE,
  )


def explain_unreadable(
  builder: tfds.ImageFolder, split: str
) -> UserError | None:
  """Returns an error that names the first file that is no image, or None."""
  for data, _, path in _files(builder, split):
    try:
      _decode(data)
    except tf.errors.InvalidArgumentError as error:
      return UserError(
        f"{path.numpy().decode()} cannot be read as an image: "
        f"{error.message.splitlines()[0]}"
      )
  return None


def _files(builder, split):
  """Returns triples (contents, label, path) in a fixed order."""
  dataset = builder.as_dataset(
    split=split, decoders={"image": tfds.decode.SkipDecoding()}
  )
  return dataset.map(
    lambda e: (e["image"], e["label"], e["image/filename"]),
    num_parallel_calls=tf.data.AUTOTUNE,
  )


def _decode(data):
  image = tf.io.decode_image(data, channels=3, expand_animations=False)
  return tf.ensure_shape(image, (None, None, 3))
