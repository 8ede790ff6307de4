"""Images in class folders: SPLIT/CLASS/*.jpg, read by TFDS's folder builder."""

import os
import re

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
    UserError: if a directory is missing or empty, holds a class that the other
      split lacks, or if there are folders besides.
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
  builder = tfds.ImageFolder(root)
  names = set(builder.info.features["label"].names)
  if names != classes[train_split]:
    raise UserError(
      f"{sorted(names - classes[train_split])} would count as classes, since "
      f"--data_dir={root} has folders of these names, but they hold no images "
      f"to train on. Remove them: --data_dir must hold {layout}, and no more."
    )
  return builder


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
  files = builder.as_dataset(
    split=split, decoders={"image": tfds.decode.SkipDecoding()}
  )
  return files.map(
    lambda example: (_decode(example["image"]), example["label"]),
    num_parallel_calls=tf.data.AUTOTUNE,
  )


def explain_unreadable(root: str, split: str) -> UserError | None:
  """Returns an error that names the first file that is no image, or None."""
  for path in sorted(tf.io.gfile.glob(os.path.join(root, split, "*", "*"))):
    if path.lower().endswith(_SUFFIXES):
      try:
        _decode(tf.io.read_file(path))
      except tf.errors.OpError as error:
        # Without what TensorFlow puts around it: the operation and its device.
        reason = re.sub(r"\{\{.*?\}\} ?|\[Op:.*", "", error.message).strip()
        return UserError(f"{path} cannot be read as an image: {reason}")
  return None


def _decode(data):
  image = tf.io.decode_image(data, channels=3, expand_animations=False)
  return tf.ensure_shape(image, (None, None, 3))
