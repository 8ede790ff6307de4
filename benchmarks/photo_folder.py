"""JPEGs of ImageNet's size, from photos that installed packages bring along.

Windows of scikit-learn's two photos and of matplotlib's, enlarged by up to 1.25
into the sizes that are most frequent in ImageNet, at the JPEG quality at which
a file has 110 kB on average, as there.
"""

import io
import os

import matplotlib
import numpy as np
import tqdm
from PIL import Image
from sklearn import datasets

_SHAPES = ((375, 500), (500, 375), (333, 500))  # Height and width.
_SHARES = (0.6, 0.25, 0.15)
_BYTES = 110_000


def write(folder: str, number: int, classes: int = 10) -> float:
  """Writes CLASS/NUMBER.jpg; returns the mean size in bytes.

  Args:
    folder: Made if needed.
    number: How many images.
    classes: How many class folders.
  """
  photos = _photos()
  quality = _quality([_window(photos, i) for i in range(min(number, 60))])
  sizes = []
  for i in tqdm.trange(number, desc=f"Writing JPEGs, quality {quality}"):
    path = os.path.join(folder, f"{i % classes:03}", f"{i:05}.jpg")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    data = _encode(_window(photos, i), quality)
    with open(path, "wb") as file:
      file.write(data)
    sizes.append(len(data))
  return float(np.mean(sizes))


def _photos():
  portrait = os.path.join(
    matplotlib.get_data_path(), "sample_data", "grace_hopper.jpg"
  )
  photos = [Image.fromarray(i) for i in datasets.load_sample_images().images]
  return [*photos, Image.open(portrait).convert("RGB")]


def _window(photos, number):
  """Returns a picture that the number decides."""
  random = np.random.default_rng(number)
  photo = photos[random.integers(len(photos))]
  height, width = _SHAPES[random.choice(len(_SHAPES), p=_SHARES)]
  scale = random.uniform(
    0.6, min(1, photo.width / width, photo.height / height)
  )
  box = int(width * scale), int(height * scale)
  left = random.integers(photo.width - box[0] + 1)
  top = random.integers(photo.height - box[1] + 1)
  window = photo.crop((left, top, left + box[0], top + box[1]))
  image = window.resize((width, height), Image.BICUBIC)
  is_mirrored = random.random() < 0.5
  return image.transpose(Image.FLIP_LEFT_RIGHT) if is_mirrored else image


def _quality(images):
  """Returns the quality at which the mean size comes next to _BYTES."""

  def distance(quality):
    return abs(np.mean([len(_encode(i, quality)) for i in images]) - _BYTES)

  return min(tqdm.trange(90, 100, desc="Finding the quality"), key=distance)


def _encode(image, quality):
  file = io.BytesIO()
  image.save(file, "JPEG", quality=int(quality))
  return file.getvalue()
