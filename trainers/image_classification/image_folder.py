"""Images in class folders: SPLIT/CLASS/*.jpg."""

import os
import warnings

import numpy as np
import tensorflow as tf

from trainers.errors import UserError
from trainers.image_classification import image_files
from trainers.image_classification.splits import (
  EncodedSplit,
  Example,
  Source,
)


def load(root: str | None, train_split: str, validation_split: str) -> Source:
  """Returns the images of two folders, which hold the same classes.

  Labels count the classes in the order of their names. Images in folders of a
  class folder are of that class. What else lies there is counted in a warning.

  Args:
    root: The directory that holds a directory for each split.
    train_split: Name of the directory to train on.
    validation_split: Name of the directory to evaluate on.

  Raises:
    UserError: if a directory is missing or empty, or holds a class that the
      other split lacks; and as for `image_files.find`.
  """
  layout = f"{train_split}/CLASS/*.jpg and {validation_split}/CLASS/*.jpg"
  if not root:
    raise UserError(
      f"data.name='image_folder' needs --data_dir, a folder with {layout}."
    )
  files = {}
  for split in (train_split, validation_split):
    path = os.path.join(root, split)
    if not tf.io.gfile.isdir(path):
      raise UserError(
        f"{path} is not a directory: --data_dir must hold {layout}."
      )
    folders = image_files.find(path)
    files[split] = folders.files
    left_out = folders.describe_left_out()
    if left_out:
      warnings.warn(left_out, stacklevel=2)
    if not files[split]:
      raise UserError(
        f"{path} holds no images: --data_dir must hold {layout}, with names "
        f"that end in one of {image_files.READABLE}."
      )
  for one, other in (
    (train_split, validation_split),
    (validation_split, train_split),
  ):
    missing = sorted(files[one].keys() - files[other].keys())
    if missing:
      raise UserError(
        f"The classes {missing} have images in {os.path.join(root, one)} but "
        f"none in {os.path.join(root, other)}."
      )
  return Source(
    _split(files[train_split]),
    _split(files[validation_split]),
    class_names=tuple(files[train_split]),
    channels=3,
  )


def _split(files):
  paths = np.array([p.encode() for group in files.values() for p in group])
  labels = np.repeat(
    np.arange(len(files), dtype="int32"), [len(g) for g in files.values()]
  )

  def records(host, hosts, seed, buffer):
    # Every so many-th: so that each host has images of every class.
    own = paths[host::hosts], labels[host::hosts]
    dataset = tf.data.Dataset.from_tensor_slices(own)
    if seed is None:
      return dataset
    # All of them, whatever the buffer: they are paths, and sorted by class.
    del buffer
    return dataset.shuffle(
      max(1, len(own[0])), seed=seed, reshuffle_each_iteration=False
    )

  return EncodedSplit(
    len(paths),
    records,
    load=lambda path, label: Example(tf.io.read_file(path), label),
    name=lambda path, label: path,
  )
