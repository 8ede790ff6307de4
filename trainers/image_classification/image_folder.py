"""Images in class folders, SPLIT/CLASS/*.jpg, and what else lies there.

Files and folders whose names begin with a dot are no data, such as
.ipynb_checkpoints and macOS' ._NAME.jpg.
"""

import collections
import dataclasses
import hashlib
import os
from collections.abc import Iterator, Mapping

import numpy as np
import tensorflow as tf
import tqdm

from trainers.errors import UserError, first_line
from trainers.files import check_data_dir, tell_archives
from trainers.image_classification import fingerprints
from trainers.image_classification.splits import Source, of_files

# Ends of names of images. Their contents, not their names, decide the format.
READABLE = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif")
if hasattr(tf.io, "decode_webp"):  # Not before TensorFlow 2.20.
  READABLE += (".webp",)
# Ends of names of images that may not be decoded. A class of these alone is a
# mistake.
_UNREADABLE = (
  *(".webp", ".tif", ".tiff", ".heic", ".heif", ".avif", ".jxl", ".jp2"),
  *(".ppm", ".pgm", ".pnm", ".svg", ".ico", ".tga", ".psd", ".dng", ".npy"),
)
# Files that file managers, archives and network disks put into folders.
_OF_SYSTEMS = ("thumbs.db", "desktop.ini", "__macosx", "@eadir")
_LINK = "links that lead nowhere"
_CLASSES_TOLD = 5


def load(root: str | None, train_split: str, validation_split: str) -> Source:
  """Returns the images of two folders, which hold the same classes.

  Labels count the classes in the order of their names. Images in folders of a
  class folder are of that class. The notes of the source count what else lies
  there.

  Args:
    root: The directory that holds a directory for each split.
    train_split: Name of the directory to train on.
    validation_split: Name of the directory to evaluate on.

  Raises:
    UserError: if a directory is missing or empty, or holds a class that the
      other split lacks; and as for `find`.
  """
  layout = f"{train_split}/CLASS/*.jpg and {validation_split}/CLASS/*.jpg"
  _check_given(root, layout)
  files, notes = {}, []
  for split in (train_split, validation_split):
    path = os.path.join(root, split)
    if not tf.io.gfile.isdir(path):
      there = os.path.join(root, train_split)
      classes = there if tf.io.gfile.isdir(there) else root
      raise UserError(
        f"{path} is not a directory: --data_dir must hold {layout}. Where "
        f"{classes} holds CLASS/*.jpg alone, --data_dir={classes} "
        "--config.data.validation_fraction=0.2 holds out a fifth."
        f"{tell_archives(root)}"
      )
    folders = find(path)
    files[split] = folders.files
    if left_out := folders.describe_left_out():
      notes.append(left_out)
    if not files[split]:
      raise UserError(
        f"{path} holds no images: --data_dir must hold {layout}, with names "
        f"that end in one of {READABLE}.{tell_archives(path)}"
      )
  for one, other in (
    (train_split, validation_split),
    (validation_split, train_split),
  ):
    missing = sorted(files[one].keys() - files[other].keys())
    if missing:
      raise UserError(
        f"The classes {missing} have images in {os.path.join(root, one)} but "
        f"none in {os.path.join(root, other)}.{''.join(f' {n}' for n in notes)}"
      )
  return Source(
    _make_split(files[train_split], os.path.join(root, train_split)),
    _make_split(files[validation_split], os.path.join(root, validation_split)),
    class_names=tuple(files[train_split]),
    channels=3,
    notes=tuple(notes),
  )


def load_and_split(
  root: str | None,
  validation_fraction: float,
  split_seed: int,
  split_names: tuple[str, str],
) -> Source:
  """Returns the images of class folders, a part of each class held out.

  The name of a file in its class folder and the seed decide whether the file is
  held out: neither the place of the folder nor the order of the files does. The
  fraction of each class is rounded, and is at least one image.

  Args:
    root: The directory that holds CLASS/*.jpg.
    validation_fraction: The part to validate, in (0, 1).
    split_seed: Another seed holds out other files.
    split_names: Names of folders that would be splits, and are no classes.

  Raises:
    UserError: if a class has fewer than two images, and as `load` does.
  """
  _check_given(root, "CLASS/*.jpg")
  check_data_dir(root)
  folders = find(root)
  splits = sorted(folders.files.keys() & {*split_names})
  if splits:
    raise UserError(
      f"{os.path.join(root, splits[0])} is a split and no class: leave out "
      "data.validation_fraction, or give the folder that holds CLASS/*.jpg as "
      "--data_dir."
    )
  if not folders.files:
    raise UserError(
      f"--data_dir={root} must hold CLASS/*.jpg, with names that end in one of "
      f"{READABLE}. It has no folder with images, and "
      f"{folders.without_class:,} images without a folder.{tell_archives(root)}"
    )
  train, validation = {}, {}
  for name, paths in folders.files.items():
    if len(paths) < 2:
      raise UserError(
        f"Class {name!r} of {root} has one image, {paths[0]}, which cannot be "
        "both trained on and held out: add images, or move the class away."
      )
    train[name], validation[name] = _hold_out(
      paths, os.path.join(root, name), validation_fraction, split_seed
    )
  left_out = folders.describe_left_out()
  return Source(
    _make_split(train, root),
    _make_split(validation, root),
    class_names=tuple(train),
    channels=3,
    notes=(left_out,) if left_out else (),
  )


def _hold_out(paths, folder, fraction, seed):
  """Returns the images of a class to train on, and those to validate on."""

  def digest(path):
    name = os.path.relpath(path, folder)
    return hashlib.sha256(f"{seed} {name}".encode()).digest()

  by_digest = sorted(paths, key=digest)
  count = min(max(1, round(fraction * len(paths))), len(paths) - 1)
  return sorted(by_digest[count:]), sorted(by_digest[:count])


def _check_given(root, layout):
  if not root:
    raise UserError(
      f"data.name='image_folder' needs --data_dir, a folder with {layout}."
    )


def _make_split(files, root):
  labels = np.repeat(np.arange(len(files)), [len(g) for g in files.values()])
  paths = [path for group in files.values() for path in group]
  return of_files(
    paths,
    labels,
    channels=3,
    fingerprint=lambda: fingerprints.of_files(paths, root),
  )


@dataclasses.dataclass(frozen=True)
class ClassFolders:
  """What a folder of class folders holds.

  Attributes:
    directory: The folder.
    files: Paths of the images of each class, at any depth, both sorted.
    left_out: For each class folder how many of its files are no images that can
      be decoded, by the ends of their names.
    without_class: How many images lie beside the class folders.
    empty: Names of the folders without images, which are no classes.
  """

  directory: str
  files: Mapping[str, list[str]]
  left_out: Mapping[str, Mapping[str, int]]
  without_class: int
  empty: tuple[str, ...]

  def describe_left_out(self) -> str:
    """Returns sentences on what is no data, or "" if all is."""
    sentences = []
    if self.left_out:
      total = sum(sum(kinds.values()) for kinds in self.left_out.values())
      told = [
        f"{name!r}: {_describe(kinds)}"
        for name, kinds in [*self.left_out.items()][:_CLASSES_TOLD]
      ]
      more = len(self.left_out) - len(told)
      told += [f"and {more} more classes"] * (more > 0)
      sentences.append(
        f"{total:,} files are left out, which are no images that TensorFlow "
        f"{tf.__version__} decodes ({'; '.join(told)})."
      )
    if self.without_class:
      sentences.append(
        f"{self.without_class:,} images beside the class folders have no class."
      )
    if self.empty:
      sentences.append(
        f"The folders {[*self.empty]} hold no images, and are no classes."
      )
    return f"{self.directory}: {' '.join(sentences)}" if sentences else ""


def find(directory: str) -> ClassFolders:
  """Returns the images below each folder in `directory`.

  Args:
    directory: On a disk, where symbolic links are followed, or gs://...

  Raises:
    UserError: if a folder cannot be listed, if a link leads nowhere, or if a
      class has images in formats alone that cannot be decoded.
  """
  files, left_out, without_class, empty = {}, {}, 0, []
  for name, is_folder in tqdm.tqdm(
    _entries(directory), desc=f"Listing {directory}", unit="class", delay=2
  ):
    if not is_folder:
      without_class += name.lower().endswith(READABLE)
      continue
    folder = os.path.join(directory, name)
    images, others = images_below(folder)
    _check(folder, images, others)
    if images:
      files[name] = images
    else:
      empty.append(name)
    if others:
      left_out[name] = collections.Counter(map(_kind, others))
  return ClassFolders(directory, files, left_out, without_class, tuple(empty))


def images_below(folder: str) -> tuple[list[str], list[str]]:
  """Returns the paths of the images below a folder, and of all other files.

  Both are sorted.

  Args:
    folder: On a disk, where symbolic links are followed, or gs://...

  Raises:
    UserError: if a folder cannot be listed.
  """
  images, others = [], []
  for path in _walk(folder, frozenset()):
    (images if path.lower().endswith(READABLE) else others).append(path)
  return sorted(images), sorted(others)


def _check(folder, images, others):
  """Raises a UserError for images that are not there, or cannot be read."""
  broken = [path for path in (*images, *others) if _leads_nowhere(path)]
  if broken:
    raise UserError(
      f"{folder} holds {len(broken):,} {_LINK}, such as {broken[0]}."
    )
  unreadable = [p for p in others if p.lower().endswith(_UNREADABLE)]
  if unreadable and not images:
    counts = _describe(collections.Counter(map(_kind, unreadable)))
    raise UserError(
      f"{folder} holds no image that TensorFlow {tf.__version__} decodes, but "
      f"{counts}: convert its files to one of {READABLE}, or move it away."
    )


def _leads_nowhere(path):
  return "://" not in path and os.path.islink(path) and not os.path.exists(path)


def _walk(folder, parents) -> Iterator[str]:
  """Yields the paths of all files below a folder.

  Args:
    folder: Where to begin.
    parents: The real paths of the folders above. A link to one of these is not
      followed: that would have no end.
  """
  if "://" not in folder:
    here = os.path.realpath(folder)
    if here in parents:
      return
    parents = parents | {here}
  for name, is_folder in _entries(folder):
    path = os.path.join(folder, name)
    if is_folder:
      yield from _walk(path, parents)
    else:
      yield path


def _entries(folder) -> list[tuple[str, bool]]:
  """Returns sorted pairs (name, whether it is a folder) of what may be data."""
  try:
    if "://" in folder:
      entries = [_remote_entry(folder, n) for n in tf.io.gfile.listdir(folder)]
    else:
      with os.scandir(folder) as found:
        entries = [(entry.name, entry.is_dir()) for entry in found]
  except (OSError, tf.errors.OpError) as error:
    raise UserError(
      f"{folder} cannot be listed: {first_line(error)}"
    ) from error
  return sorted(
    (name, is_folder)
    for name, is_folder in entries
    if name and not name.startswith(".") and name.lower() not in _OF_SYSTEMS
  )


def _remote_entry(folder, name):
  """Returns (name, whether it is a folder), asking only where it is not told.

  In a bucket each question is a request, and names of folders end in a slash.
  """
  if name.endswith("/"):
    return name.rstrip("/"), True
  is_image = name.lower().endswith(READABLE + _UNREADABLE)
  is_folder = not is_image and tf.io.gfile.isdir(os.path.join(folder, name))
  return name, is_folder


def _kind(path):
  return os.path.splitext(path)[1].lower() or "without an ending"


def _describe(kinds):
  return ", ".join(f"{kinds[kind]:,} {kind}" for kind in sorted(kinds))
