import io

import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from PIL import Image

from tests.trainers.image_classification import photos
from trainers.image_classification import decoding

_WINDOW = (5, 9, 20, 30)  # Top, left, height, width.


def _part(data, channels=3):
  part, size, window = decoding.decode_part(
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
    self.assertAllEqual(
      decoding.decode(tf.constant(data), 3).shape, (40, 64, 3)
    )

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
    self.assertAllEqual(decoding.decode(tf.constant(data), 3), expected)
    self.assertAllEqual(_part(data)[0], expected[5:25, 9:39])

  def test_few_colors(self):
    image = Image.fromarray(photos.pixels(7, 9)).quantize(5)
    file = io.BytesIO()
    image.save(file, "BMP")
    self.assertAllEqual(
      decoding.decode(tf.constant(file.getvalue()), 3),
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
      decoding.decode(tf.constant(file.getvalue()), 3), np.full((6, 8, 3), 20)
    )

  @parameterized.parameters(1, 3)
  def test_an_animated_webp_is_refused_by_its_head(self, channels):
    # The head alone, which nothing can decode.
    head = b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\x02" + b"\0" * 9
    decode = tf.function(lambda data: decoding.decode(data, channels))
    for each in (decode, lambda data: decoding.decode(data, channels)):
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
      decoding.decode(tf.constant(file.getvalue()), 3), expected
    )

  def test_cmyk_becomes_rgb(self):
    image = photos.pixels(40, 64)
    data = photos.encode(image, mode="CMYK")
    self.assertEqual(Image.open(io.BytesIO(data)).mode, "CMYK")
    part, size, _ = _part(data)
    self.assertEqual(size, [40, 64])
    difference = np.abs(part - image[5:25, 9:39].astype(int))
    self.assertLess(np.mean(difference), 3)
    whole = decoding.decode(tf.constant(data), 3)
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


if __name__ == "__main__":
  tf.test.main()
