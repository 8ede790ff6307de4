"""Image files made up for tests, as they occur in ImageNet."""

import io

import numpy as np
from PIL import Image


def pixels(height: int, width: int, seed: int = 0) -> np.ndarray:
  """Returns a smooth random image, uint8 (height, width, 3)."""
  coarse = np.random.default_rng(seed).integers(
    256, size=(height // 16 + 2, width // 16 + 2, 3), dtype="uint8"
  )
  image = Image.fromarray(coarse).resize((width, height), Image.BICUBIC)
  return np.array(image)


def encode(image: np.ndarray, kind: str = "JPEG", mode: str = "RGB") -> bytes:
  """Returns a file's contents.

  Args:
    image: uint8 (height, width, 3).
    kind: A format that Pillow knows.
    mode: Of the colors in the file, such as "CMYK" or "L".
  """
  file = io.BytesIO()
  arguments = {"quality": 95} if kind == "JPEG" else {}
  Image.fromarray(image).convert(mode).save(file, kind, **arguments)
  return file.getvalue()


def jpeg(height: int = 24, width: int = 32, seed: int = 0) -> bytes:
  """Returns a JPEG of a smooth random image."""
  return encode(pixels(height, width, seed))
