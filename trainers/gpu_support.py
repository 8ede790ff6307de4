"""GPUs that are there, and whether TensorFlow can use them."""

import contextlib
import dataclasses
import glob
import importlib.util
import os
import re
import shutil
import subprocess

import tensorflow as tf

from trainers import tensorflow_log

INSTALL = "pip install 'tensorflow[and-cuda]'"

_TIMEOUT = 10  # Seconds for nvidia-smi, which may hang with a broken driver.


@dataclasses.dataclass(frozen=True)
class Found:
  """What there is of NVIDIA's GPUs and of the software for them.

  Attributes:
    present: Names of the GPUs that the driver shows, or of their device files.
    usable: How many of them TensorFlow can use.
    is_hidden: Whether CUDA_VISIBLE_DEVICES hides them, on purpose.
    has_cuda: Whether TensorFlow was built with CUDA.
    has_libraries: Whether the libraries of tensorflow[and-cuda] are installed.
  """

  present: tuple[str, ...]
  usable: int
  is_hidden: bool
  has_cuda: bool
  has_libraries: bool


def find() -> Found:
  """Returns what there is on this machine."""
  usable = len(tf.config.list_physical_devices("GPU"))
  return Found(
    present=() if usable else _present(),
    usable=usable,
    is_hidden=os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1"),
    has_cuda=tf.test.is_built_with_cuda(),
    has_libraries=_has_libraries(),
  )


def why_unused(found: Found) -> str | None:
  """Returns why GPUs are not used and what to do, a sentence each, or None.

  None means that all is well: a GPU can be used, there is none, or it is hidden
  on purpose.

  Args:
    found: From `find`.
  """
  if found.usable or found.is_hidden or not found.present:
    return None
  what = (
    f"{', '.join(found.present)} cannot be used, and the CPU computes instead: "
    f"TensorFlow {tf.__version__}"
  )
  if not found.has_cuda:
    return f"{what} is a build without CUDA. Install one with it: {INSTALL}"
  if not found.has_libraries:
    return f"{what} finds none of CUDA's libraries. Install them: {INSTALL}"
  return (
    f"{what} has CUDA and its libraries, but does not go with the driver. "
    f"Update the driver, or set {tensorflow_log.SHOWN_BY}=0 to see what "
    "TensorFlow says."
  )


def _present():
  """Returns the names of the GPUs that the driver or its files show."""
  program = shutil.which("nvidia-smi")
  if program:
    with contextlib.suppress(OSError, subprocess.SubprocessError):
      listed = subprocess.run(
        [program, "-L"],
        capture_output=True,
        text=True,
        timeout=_TIMEOUT,
      ).stdout
      if names := names_of(listed):
        return names
  return tuple(sorted(glob.glob("/dev/nvidia[0-9]*")))


def names_of(listed: str) -> tuple[str, ...]:
  """Returns the names of the GPUs in what `nvidia-smi -L` prints."""
  return tuple(re.findall(r"^GPU \d+: (.+?) \(UUID", listed, re.MULTILINE))


def _has_libraries():
  try:
    return importlib.util.find_spec("nvidia.cudnn") is not None
  except ModuleNotFoundError:  # Not even of the package around it.
    return False
