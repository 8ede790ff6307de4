"""Images in class folders: SPLIT/CLASS/*.jpg."""

import os

import numpy as np
import tensorflow as tf
import tqdm

from trainers.errors import UserError
from trainers.image_classification.splits import (
  EncodedSplit,
  Example,
  Source,
)

_SUFFIXES = (".jpg", ".jpeg", ".png")


def load(root: str | None, train_split: str, validation_split: str) -> Source:
  """Returns the images of two folders, which hold the same classes.

  Labels count the classes in the order of their names.

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
  files = {}
  for split in (train_split, validation_split):
    path = os.path.join(root, split)
    if not tf.io.gfile.isdir(path):
      raise UserError(
        f"{path} is not a directory: --data_dir must hold {layout}."
      )
    files[split] = _files_of_classes(path)
    if not files[split]:
      raise UserError(
        f"{path} holds no images: --data_dir must hold {layout}, with names "
        f"that end in one of {_SUFFIXES}."
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


def _files_of_classes(directory):
  """Returns the paths of the images by class, both sorted."""
  files = {}
  for name in tqdm.tqdm(
    sorted(tf.io.gfile.listdir(directory)),
    desc=f"Listing {directory}",
    unit="class",
    delay=2,
  ):
    folder = os.path.join(directory, name.rstrip("/"))
    if tf.io.gfile.isdir(folder):
      paths = [
        os.path.join(folder, file)
        for file in sorted(tf.io.gfile.listdir(folder))
        if file.lower().endswith(_SUFFIXES)
      ]
      if paths:
        files[name.rstrip("/")] = paths
  return files


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
