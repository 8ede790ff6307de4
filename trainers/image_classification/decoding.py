"""From the bytes of an image file to pixels: whole, or the needed part alone.

A part of a JPEG is decoded without the rest. Other formats are decoded whole
and cut; ImageNet has a PNG among its JPEGs. JPEGs in CMYK, of which it has 22,
become RGB in the decoder.
"""

from collections.abc import Callable

import tensorflow as tf


def decode(data: tf.Tensor, channels: int) -> tf.Tensor:
  """Returns a JPEG, PNG, GIF or BMP as uint8 (height, width, channels).

  Of a GIF it is the first picture.
  """
  image = tf.io.decode_image(data, channels=channels, expand_animations=False)
  return tf.ensure_shape(image, (None, None, channels))


def decode_part(
  data: tf.Tensor,
  channels: int,
  choose: Callable[[tf.Tensor], tf.Tensor],
  dct_method: str = "INTEGER_FAST",
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
  """Decodes a part of an image.

  Args:
    data: Contents of a JPEG, PNG, GIF or BMP file, a string scalar.
    channels: Channels of the result, 1 or 3.
    choose: A function of the image's (height, width), int32 of shape (2,).
      Returns the window (top, left, height, width) to decode, likewise int32.
    dct_method: "INTEGER_FAST", or "INTEGER_ACCURATE", which is Pillow's.

  Returns:
    The part, uint8 (height, width, channels); the image's (height, width); and
    the window.
  """

  def part_of_jpeg():
    size = tf.io.extract_jpeg_shape(data)[:2]
    window = choose(size)
    part = tf.image.decode_and_crop_jpeg(
      data, window, channels=channels, dct_method=dct_method
    )
    return part, size, window

  def part_of_other():
    image = decode(data, channels)
    size = tf.shape(image)[:2]
    window = choose(size)
    top, left, height, width = tf.unstack(window)
    part = image[top : top + height, left : left + width]
    return part, size, window

  return tf.cond(tf.io.is_jpeg(data), part_of_jpeg, part_of_other)
