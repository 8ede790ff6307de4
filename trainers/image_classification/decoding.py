"""From the bytes of an image file to pixels: whole, or the needed part alone.

A part of a JPEG is decoded without the rest. Other formats are decoded whole
and cut; ImageNet has a PNG among its JPEGs. JPEGs in CMYK, of which it has 22,
become RGB in the decoder.
"""

from collections.abc import Callable

import tensorflow as tf


def decode(data: tf.Tensor, channels: int) -> tf.Tensor:
  """Returns an image file as uint8 (height, width, channels).

  It is a JPEG, PNG, GIF or BMP, or a WebP of one picture where TensorFlow
  decodes these. Of a GIF it is the first picture. Opacity is left out. A WebP
  of several pictures is an InvalidArgumentError.
  """
  # Filled up, for contents that are shorter.
  head = tf.strings.join([tf.strings.substr(data, 0, 32), b"\0" * 32])
  # Before TensorFlow's decoder sees it, which is no match for all of them.
  check = tf.debugging.Assert(
    ~_is_animated_webp(head), ["An animated WebP is not decoded."]
  )
  with tf.control_dependencies([check] if check is not None else []):
    data = tf.identity(data)

  def decode_any():
    return tf.io.decode_image(data, channels, expand_animations=False)

  if channels != 3:
    return tf.ensure_shape(decode_any(), (None, None, channels))
  # What decode_image does not do, or not right.
  others = [(_is_indexed_bmp(head), lambda: _decode_indexed_bmp(data, head))]
  if hasattr(tf.io, "decode_webp"):
    others.append(
      (
        _is_webp_with_opacity(head),
        lambda: tf.io.decode_webp(data, channels=4)[0, ..., :3],
      )
    )
  image = tf.case(others, default=decode_any)
  return tf.ensure_shape(image, (None, None, channels))


def _holds(head, position, text):
  return tf.strings.substr(head, position, len(text)) == text


def _is_indexed_bmp(head):
  """Whether it is the beginning of a BMP of 8 bits a pixel."""
  return _holds(head, 0, b"BM") & _holds(head, 28, b"\x08\0")


def _has_bit(head, position, bit):
  byte = tf.io.decode_raw(tf.strings.substr(head, position, 1), tf.uint8)[0]
  return tf.bitwise.bitwise_and(byte, tf.constant(bit, tf.uint8)) > 0


# https://developers.google.com/speed/webp/docs/riff_container, and for the
# lossless format .../webp_lossless_bitstream_specification.
def _is_webp(head, kind):
  """Whether it is the beginning of a WebP whose first chunk is of a kind."""
  return (
    _holds(head, 0, b"RIFF") & _holds(head, 8, b"WEBP") & _holds(head, 12, kind)
  )


def _is_animated_webp(head):
  """Whether it is the beginning of a WebP that may have several pictures."""
  return _is_webp(head, b"VP8X") & _has_bit(head, 20, 0x02)


def _is_webp_with_opacity(head):
  """Whether it is the beginning of a WebP of four channels."""
  return (_is_webp(head, b"VP8X") & _has_bit(head, 20, 0x10)) | (
    _is_webp(head, b"VP8L") & _has_bit(head, 24, 0x10)
  )


def _decode_indexed_bmp(data, head):
  """Returns the colors of a BMP; TensorFlow takes their numbers for grays."""

  def place(position):
    number = tf.strings.substr(head, position, 4)
    return tf.io.decode_raw(number, tf.int32)[0]

  # The file's header has 14 bytes, and tells where the pixels begin. The next
  # one tells its own size. Between are the colors: blue, green, red and 0.
  # TensorFlow's message on a place beyond the end is no text.
  end = tf.clip_by_value(place(10), 0, tf.strings.length(data))
  start = tf.clip_by_value(14 + place(14), 0, end)
  colors = tf.io.decode_raw(
    tf.strings.substr(data, start, end - start), tf.uint8
  )
  colors = tf.reshape(colors, (-1, 4))[:, 2::-1]
  return tf.gather(colors, tf.cast(tf.io.decode_bmp(data)[..., 0], tf.int32))


def decode_part(
  data: tf.Tensor,
  channels: int,
  choose: Callable[[tf.Tensor], tf.Tensor],
  dct_method: str = "INTEGER_FAST",
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
  """Decodes a part of an image.

  Args:
    data: Contents of an image file that `decode` can read, a string scalar.
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
