import io
import math

import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from ml_collections import config_dict
from PIL import Image

from tests.trainers.image_classification import photos
from trainers.image_classification import crops

_AREA, _RATIO = (0.08, 1.0), (3 / 4, 4 / 3)


def _config(**fields):
  return config_dict.create(
    **{
      "image_size": 32,
      "antialias": None,
      "eval_resize": None,
      "crop_area": None,
      "crop_aspect_ratio": None,
      "horizontal_flip": False,
      **fields,
    }
  )


def _numpy_window(height, width, uniform, area, ratio):
  """RandomResizedCrop as torchvision documents it, on given numbers."""
  for i in range(10):
    target = height * width * (area[0] + (area[1] - area[0]) * uniform[i])
    low, high = np.log(ratio)
    aspect = np.exp(low + (high - low) * uniform[10 + i])
    w, h = round(math.sqrt(target * aspect)), round(math.sqrt(target / aspect))
    if 0 < w <= width and 0 < h <= height:
      top = int(uniform[20] * (height - h + 1))
      left = int(uniform[21] * (width - w + 1))
      return top, left, h, w
  w, h = width, height
  if width / height < ratio[0]:
    h = round(width / ratio[0])
  elif width / height > ratio[1]:
    w = round(height * ratio[1])
  return (height - h) // 2, (width - w) // 2, h, w


@tf.function(reduce_retracing=True)
def _windows(size, uniform, area, ratio):
  return tf.map_fn(
    lambda row: crops.random_window(size, row, area, ratio),
    uniform,
    fn_output_signature=tf.int32,
  )


class RandomWindowTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.parameters(
    (375, 500, _AREA, _RATIO),
    (500, 375, _AREA, _RATIO),
    (100, 900, _AREA, _RATIO),  # Mostly central: large crops do not fit.
    (900, 100, (0.9, 1.0), _RATIO),
    (200, 200, (1.0, 1.0), (1.0, 1.0)),
    (7, 5, _AREA, _RATIO),
    (1, 1, _AREA, _RATIO),
  )
  def test_is_that_of_numpy(self, height, width, area, ratio):
    uniform = (
      np.random.default_rng(height)
      .random((300, crops.RANDOM_NUMBERS))
      .astype("float32")
    )
    actual = _windows(
      tf.constant([height, width]),
      tf.constant(uniform),
      tf.constant(area),
      ratio,
    ).numpy()
    expected = [_numpy_window(height, width, u, area, ratio) for u in uniform]
    # float32 rounds a side, or a place, to the other neighbor now and then.
    difference = np.abs(actual - np.array(expected))
    self.assertLessEqual(difference.max(), 1)
    self.assertLess(np.mean(difference.max(axis=1) > 0), 0.02)
    tops, lefts, heights, widths = actual.T
    self.assertTrue(np.all((tops >= 0) & (tops + heights <= height)))
    self.assertTrue(np.all((lefts >= 0) & (lefts + widths <= width)))

  def test_area_and_ratio_are_distributed_as_they_should(self):
    # In a square image of which at most a half is taken, everything fits.
    uniform = tf.random.stateless_uniform((4000, crops.RANDOM_NUMBERS), (1, 2))
    windows = _windows(
      tf.constant([1000, 1000]), uniform, tf.constant((0.1, 0.5)), _RATIO
    )
    _, _, heights, widths = windows.numpy().T
    areas = np.sort(heights * widths / 1e6)
    log_ratios = np.sort(np.log(widths / heights))
    uniform_areas = np.linspace(0.1, 0.5, 4000)
    uniform_logs = np.linspace(*np.log(_RATIO), 4000)
    # Kolmogorov and Smirnov: 1.63 / sqrt(n) of the range at the 1 % level.
    self.assertLess(np.max(np.abs(areas - uniform_areas)), 0.4 * 0.0258)
    self.assertLess(
      np.max(np.abs(log_ratios - uniform_logs)), np.log(16 / 9) * 0.0258
    )


def _bilinear(image, size):
  """Interpolates between the four nearest pixel centers, in float64."""
  grids = []
  for side, new in zip(image.shape[:2], size):
    place = np.clip((np.arange(new) + 0.5) * side / new - 0.5, 0, side - 1)
    low = np.floor(place).astype(int)
    grids.append((low, np.minimum(low + 1, side - 1), place - low))
  (top, bottom, y), (left, right, x) = grids
  rows = image[top] * (1 - y)[:, None, None] + image[bottom] * y[:, None, None]
  return rows[:, left] * (1 - x)[:, None] + rows[:, right] * x[:, None]


class RandomCropTest(tf.test.TestCase, parameterized.TestCase):
  def _crop(self, data, seed=(0, 1), **fields):
    return crops.random_crop(
      tf.constant(data), 3, _config(**fields), tf.constant(seed, tf.int64)
    ).numpy()

  @parameterized.parameters(False, True)
  def test_it_is_the_window_resized(self, antialias):
    image = photos.pixels(150, 200)
    data = photos.encode(image, "PNG")
    fields = {"antialias": antialias, "image_size": 48}
    for i in range(5):
      seed = tf.constant((3, i), tf.int64)
      uniform = tf.random.stateless_uniform((crops.RANDOM_NUMBERS + 1,), seed)
      top, left, h, w = _numpy_window(150, 200, uniform.numpy(), _AREA, _RATIO)
      part = image[top : top + h, left : left + w]
      if antialias:
        resized = Image.fromarray(part).resize((48, 48), Image.BILINEAR)
        expected = np.array(resized, int)
      else:
        expected = np.rint(_bilinear(part.astype(float), (48, 48)))
      actual = self._crop(data, seed, **fields)
      self.assertLessEqual(np.abs(actual - expected).max(), 1)
      flipped = self._crop(data, seed, horizontal_flip=True, **fields)
      mirrored = actual[:, ::-1] if uniform[-1] < 0.5 else actual
      self.assertAllEqual(flipped, mirrored)

  def test_a_jpeg_gives_what_a_png_of_its_pixels_gives(self):
    data = photos.jpeg(150, 200)
    decoded = np.array(Image.open(io.BytesIO(data)))
    for i in range(5):
      difference = self._crop(data, (0, i)).astype(int) - self._crop(
        photos.encode(decoded, "PNG"), (0, i)
      )
      self.assertLess(np.abs(difference).mean(), 1.5)

  def test_half_of_the_images_are_flipped(self):
    data = photos.encode(photos.pixels(40, 40), "PNG")
    flips = [
      not np.array_equal(
        self._crop(data, (0, i)), self._crop(data, (0, i), horizontal_flip=True)
      )
      for i in range(40)
    ]
    self.assertBetween(sum(flips), 10, 30)


class CentralCropTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.product(
    sizes=[
      (375, 500, 256, 224),
      (500, 333, 256, 224),
      (257, 1001, 256, 224),
      (64, 80, 256, 224),  # Enlarged.
      (256, 256, 256, 256),
      (1200, 900, 64, 33),
      (90, 91, 37, 32),
    ],
    antialias=[False, True],
  )
  def test_is_resized_and_cut(self, sizes, antialias):
    height, width, resize, size = sizes
    image = photos.pixels(height, width)
    actual = crops.central_crop(
      tf.constant(photos.encode(image, "PNG")),
      3,
      _config(image_size=size, eval_resize=resize, antialias=antialias),
    )
    # torchvision's Resize(resize) and CenterCrop(size).
    short = min(height, width)
    new = (int(resize * height / short), int(resize * width / short))
    if antialias:
      resized = Image.fromarray(image).resize(new[::-1], Image.BILINEAR)
    else:
      resized = np.rint(_bilinear(image.astype(float), new))
    top, left = (round((side - size) / 2.0) for side in new)
    expected = np.array(resized, int)[top : top + size, left : left + size]
    self.assertEqual(actual.shape, (size, size, 3))
    self.assertLessEqual(np.abs(actual.numpy() - expected).max(), 1)

  def test_a_jpeg_gives_what_a_png_of_its_pixels_gives(self):
    data = photos.jpeg(300, 400)
    decoded = np.array(Image.open(io.BytesIO(data)))
    config = _config(image_size=224)
    images = [
      crops.central_crop(tf.constant(d), 3, config).numpy().astype(int)
      for d in (data, photos.encode(decoded, "PNG"))
    ]
    self.assertLessEqual(np.abs(images[0] - images[1]).mean(), 0.5)

  def test_resize_goes_with_the_size(self):
    self.assertEqual(crops.eval_resize(_config(image_size=224)), 256)
    self.assertEqual(crops.eval_resize(_config(image_size=160)), 183)
    self.assertEqual(crops.eval_resize(_config(eval_resize=40)), 40)


if __name__ == "__main__":
  tf.test.main()
