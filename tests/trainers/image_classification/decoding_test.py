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

  @parameterized.parameters(b"", b"no image", photos.jpeg()[:100])
  def test_what_is_no_image(self, data):
    with self.assertRaises(tf.errors.InvalidArgumentError):
      _part(data)


if __name__ == "__main__":
  tf.test.main()
