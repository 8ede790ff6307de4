import io
import math

import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from PIL import Image

from tests.trainers.image_classification import photos
from trainers.image_classification import pixels
from trainers.image_classification.pixels import Cut

_WINDOW = (5, 9, 20, 30)  # Top, left, height, width.


def _part(data, channels=3):
  part, size, window = pixels.decode_part(
    tf.constant(data), channels, lambda size: tf.constant(_WINDOW)
  )
  return part.numpy(), size.numpy().tolist(), window.numpy().tolist()


class DecodingTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.parameters(
    ("JPEG", "RGB", 2), ("JPEG", "L", 2), ("PNG", "RGB", 0), ("BMP", "RGB", 0)
  )
  def test_the_window_of_what_pillow_decodes(self, kind, mode, tolerance):
    data = photos.encode(photos.pixels(40, 64), kind, mode)
    part, size, window = _part(data)
    self.assertEqual((size, window), ([40, 64], list(_WINDOW)))
    whole = np.array(Image.open(io.BytesIO(data)).convert("RGB"))
    expected = whole[5:25, 9:39].astype(int)
    self.assertEqual(part.shape, expected.shape)
    self.assertLessEqual(np.mean(np.abs(part - expected)), tolerance)
    self.assertAllEqual(pixels.decode(tf.constant(data), 3).shape, (40, 64, 3))

  @parameterized.parameters(
    ("BMP", "P"),
    ("BMP", "L"),
    ("BMP", "RGBA"),
    ("GIF", "P"),
    ("GIF", "L"),
    ("PNG", "P"),
    ("PNG", "1"),
    ("WEBP", "RGB"),
    ("WEBP", "RGBA"),
  )
  def test_the_colors_that_pillow_decodes(self, kind, mode):
    if kind == "WEBP" and not hasattr(tf.io, "decode_webp"):
      self.skipTest("This TensorFlow decodes no WebP.")
    data = photos.encode(photos.pixels(40, 64), kind, mode)
    expected = np.array(Image.open(io.BytesIO(data)).convert("RGB"))
    self.assertAllEqual(pixels.decode(tf.constant(data), 3), expected)
    self.assertAllEqual(_part(data)[0], expected[5:25, 9:39])

  def test_few_colors(self):
    image = Image.fromarray(photos.pixels(7, 9)).quantize(5)
    file = io.BytesIO()
    image.save(file, "BMP")
    self.assertAllEqual(
      pixels.decode(tf.constant(file.getvalue()), 3),
      np.array(image.convert("RGB")),
    )

  def test_the_first_picture_of_several(self):
    pictures = [
      Image.fromarray(np.full((6, 8, 3), color, np.uint8))
      for color in (20, 200)
    ]
    file = io.BytesIO()
    pictures[0].save(file, "GIF", save_all=True, append_images=pictures[1:])
    self.assertAllEqual(
      pixels.decode(tf.constant(file.getvalue()), 3), np.full((6, 8, 3), 20)
    )

  @parameterized.parameters(1, 3)
  def test_an_animated_webp_is_refused_by_its_head(self, channels):
    # The head alone, which nothing can decode.
    head = b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\x02" + b"\0" * 9
    decode = tf.function(lambda data: pixels.decode(data, channels))
    for each in (decode, lambda data: pixels.decode(data, channels)):
      with self.assertRaisesRegex(
        tf.errors.InvalidArgumentError, "An animated WebP is not decoded"
      ):
        each(tf.constant(head))

  @parameterized.product(mode=("RGB", "RGBA"), lossless=(False, True))
  def test_webp_of_every_kind(self, mode, lossless):
    if not hasattr(tf.io, "decode_webp"):
      self.skipTest("This TensorFlow decodes no WebP.")
    image = Image.fromarray(photos.pixels(40, 64)).convert(mode)
    if mode == "RGBA":
      image.putalpha(200)
    file = io.BytesIO()
    image.save(file, "WEBP", lossless=lossless)
    expected = np.array(Image.open(io.BytesIO(file.getvalue())).convert("RGB"))
    self.assertAllEqual(
      pixels.decode(tf.constant(file.getvalue()), 3), expected
    )

  def test_cmyk_becomes_rgb(self):
    image = photos.pixels(40, 64)
    data = photos.encode(image, mode="CMYK")
    self.assertEqual(Image.open(io.BytesIO(data)).mode, "CMYK")
    part, size, _ = _part(data)
    self.assertEqual(size, [40, 64])
    difference = np.abs(part - image[5:25, 9:39].astype(int))
    self.assertLess(np.mean(difference), 3)
    whole = pixels.decode(tf.constant(data), 3)
    self.assertLess(np.mean(np.abs(whole.numpy() - image.astype(int))), 3)

  def test_gray_stays_gray(self):
    data = photos.encode(photos.pixels(40, 64), mode="L")
    part, _, _ = _part(data, channels=1)
    self.assertEqual(part.shape, (20, 30, 1))

  @parameterized.parameters(
    *(b"", b"no image", b"BM", b"RIFF", photos.jpeg()[:100]),
    photos.encode(photos.pixels(8, 8), "BMP", "P")[:50],
    photos.encode(photos.pixels(8, 8), "BMP", "P")[:-1],
  )
  def test_what_is_no_image(self, data):
    with self.assertRaises(tf.errors.InvalidArgumentError):
      _part(data)


_AREA, _RATIO = (0.08, 1.0), (3 / 4, 4 / 3)


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
    lambda row: pixels.random_window(size, row, area, ratio),
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
      .random((300, pixels.RANDOM_NUMBERS))
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
    uniform = tf.random.stateless_uniform((4000, pixels.RANDOM_NUMBERS), (1, 2))
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
    fields = {"image_size": 32, **fields}
    return pixels.random_crop(
      tf.constant(data), 3, Cut(**fields), tf.constant(seed, tf.int64)
    ).numpy()

  @parameterized.parameters(False, True)
  def test_it_is_the_window_resized(self, antialias):
    image = photos.pixels(150, 200)
    data = photos.encode(image, "PNG")
    fields = {"antialias": antialias, "image_size": 48}
    for i in range(5):
      seed = tf.constant((3, i), tf.int64)
      uniform = tf.random.stateless_uniform((pixels.RANDOM_NUMBERS + 1,), seed)
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
    actual = pixels.central_crop(
      tf.constant(photos.encode(image, "PNG")),
      3,
      Cut(size, eval_resize=resize, antialias=antialias),
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
    cut = Cut(224)
    images = [
      pixels.central_crop(tf.constant(d), 3, cut).numpy().astype(int)
      for d in (data, photos.encode(decoded, "PNG"))
    ]
    self.assertLessEqual(np.abs(images[0] - images[1]).mean(), 0.5)


if __name__ == "__main__":
  tf.test.main()
