"""Whether libtpu goes with TensorFlow's TPU build, before their import."""

import importlib.metadata

# The libtpu that each TPU build of TensorFlow was made for. With others, which
# its own metadata may allow, the process aborts when TensorFlow is imported.
_WANTED = {"2.19": "0.0.10", "2.20": "0.0.14"}


def mismatch() -> str | None:
  """Returns what is wrong with the packages installed, a sentence, or None."""
  return describe(_version("tensorflow-tpu"), _version("libtpu"))


def describe(tensorflow_tpu: str | None, libtpu: str | None) -> str | None:
  """Returns what is wrong with these versions, a sentence, or None.

  Args:
    tensorflow_tpu: Version of the distribution, None if it is not installed.
    libtpu: Likewise.
  """
  if tensorflow_tpu is None:
    return None
  wanted = _WANTED.get(".".join(tensorflow_tpu.split(".")[:2]))
  if wanted in (None, libtpu):
    return None
  return (
    f"tensorflow-tpu {tensorflow_tpu} needs libtpu {wanted}, but "
    f"{libtpu or 'none'} is installed: pip install libtpu=={wanted}"
  )


def _version(distribution):
  try:
    return importlib.metadata.version(distribution)
  except importlib.metadata.PackageNotFoundError:
    return None
