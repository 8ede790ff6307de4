"""From the bytes of an image file to pixels: decoding, crops, small images.

A part of a JPEG is decoded without the rest. Other formats are decoded whole
and cut; ImageNet has a PNG among its JPEGs. JPEGs in CMYK, of which ImageNet
has 22, become RGB in the decoder.

Training on photos takes a random part: torchvision's RandomResizedCrop, which
the paper's ImageNet recipe uses. Evaluation resizes the shorter side, and takes
the central square. Both resize by bilinear interpolation, and round to whole
numbers; with `antialias` they do as Pillow, and thus torchvision, does, whose
filter is as wide as the reduction asks for.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence

import tensorflow as tf

# Tries of a random crop, before a central one is taken.
_TRIES = 10
# Pixels around an image before a random crop, and their mode of tf.pad.
FILLS = {"black": "CONSTANT", "reflect": "REFLECT"}
# Numbers that `random_window` takes: an area and a ratio for each try, and the
# two coordinates of a place.
RANDOM_NUMBERS = 2 * _TRIES + 2


@dataclasses.dataclass(frozen=True)
class Cut:
  """What is cut out of photos, and at which size.

  Attributes:
    image_size: Height and width of the result, in pixels.
    horizontal_flip: Whether to mirror half of the training images.
    crop_area: Least and greatest part of the image's area that a random crop
      has.
    crop_aspect_ratio: Least and greatest width / height of a random crop.
    eval_resize: Length of the shorter side before the central crop, in pixels.
    antialias: Whether to resize as Pillow does.
  """

  image_size: int
  horizontal_flip: bool = False
  crop_area: tuple[float, float] = (0.08, 1.0)
  crop_aspect_ratio: tuple[float, float] = (3 / 4, 4 / 3)
  eval_resize: int = 256
  antialias: bool = False


def decode(data: tf.Tensor, channels: int) -> tf.Tensor:
  """Returns an image file as uint8 (height, width, channels).

  The file is a JPEG, PNG, GIF or BMP, or a WebP of one picture where TensorFlow
  decodes these. The first picture of a GIF is taken. Opacity is left out. A
  WebP of several pictures is an InvalidArgumentError.
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
  # Formats that decode_image does not decode, or decodes wrongly.
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


def random_crop(
  data: tf.Tensor,
  channels: int,
  cut: Cut,
  seed: tf.Tensor,
) -> tf.Tensor:
  """Returns a random part of an image, resized and perhaps flipped.

  Args:
    data: Contents of an image file, a string scalar.
    channels: 1 or 3.
    cut: What to cut out.
    seed: int64 of shape (2,), which decides all that is random.

  Returns:
    uint8 of shape (image_size, image_size, channels).
  """
  uniform = tf.random.stateless_uniform((RANDOM_NUMBERS + 1,), seed)
  part, _, window = decode_part(
    data,
    channels,
    lambda size: random_window(
      size, uniform[:-1], cut.crop_area, cut.crop_aspect_ratio
    ),
  )
  if cut.antialias:
    image = _scale(part, cut, cut.image_size / window[2:], (0.0, 0.0))
  else:  # The same as _scale, but in a third of its time.
    image = tf.raw_ops.ResizeBilinear(
      # As floats: of whole numbers it is slower than with this cast.
      images=tf.cast(part, tf.float32)[tf.newaxis],
      size=(cut.image_size, cut.image_size),
      half_pixel_centers=True,
    )[0]
  image = _to_uint8(image)
  if cut.horizontal_flip:
    # The axes to reverse: the second, or none. Cheaper than a condition.
    is_flipped = tf.cast(uniform[-1] < 0.5, tf.int32)
    image = tf.reverse(image, tf.range(1, 1 + is_flipped))
  return tf.ensure_shape(image, (cut.image_size,) * 2 + (channels,))


def central_crop(data: tf.Tensor, channels: int, cut: Cut) -> tf.Tensor:
  """Returns the central square of an image whose shorter side is resized.

  As torchvision's Resize and CenterCrop; but only what the square needs is
  decoded, and what is cut off is not computed.

  Args:
    data: Contents of an image file, a string scalar.
    channels: 1 or 3.
    cut: What to cut out.

  Returns:
    uint8 of shape (image_size, image_size, channels).
  """
  crop = cut.image_size

  def resized(size):
    """Returns (height, width) after resizing, given those before."""
    return cut.eval_resize * size // tf.reduce_min(size)

  def corner(size):
    """Returns (top, left) of the square in the resized image."""
    return tf.round((tf.cast(resized(size), tf.float32) - crop) / 2.0)

  def window(size):
    step = tf.cast(size / resized(size), tf.float32)
    reach = tf.maximum(step, 1.0)  # Of the triangle filter.
    first = tf.floor(corner(size) * step - reach)
    end = tf.math.ceil((corner(size) + crop) * step + reach)
    first = tf.maximum(tf.cast(first, tf.int32), 0)
    end = tf.minimum(tf.cast(end, tf.int32), size)
    return tf.concat([first, end - first], 0)

  part, size, taken = decode_part(
    data, channels, window, dct_method="INTEGER_ACCURATE"
  )
  scale = resized(size) / size
  start = tf.cast(taken[:2], tf.float32) * tf.cast(scale, tf.float32)
  image = _scale(part, cut, scale, start - corner(size))
  return tf.ensure_shape(_to_uint8(image), (crop, crop, channels))


def _scale(part, cut, scale, translation):
  """Returns a square of `image_size` pixels, float32.

  Args:
    part: Pixels, uint8 (height, width, channels).
    cut: What to cut out.
    scale: By which height and width are multiplied.
    translation: Where the corner of `part` comes to lie then, in pixels of the
      result, float32 of shape (2,).
  """
  return tf.raw_ops.ScaleAndTranslate(
    images=part[tf.newaxis],
    size=(cut.image_size, cut.image_size),
    scale=tf.cast(scale, tf.float32),
    translation=translation,
    kernel_type="triangle",
    antialias=cut.antialias,
  )[0]


def _to_uint8(image):
  """Returns the nearest whole numbers; resized images are within 0 and 255."""
  return tf.cast(image + 0.5, tf.uint8)


def random_window(
  size: tf.Tensor,
  uniform: tf.Tensor,
  area: Sequence[float],
  aspect_ratio: Sequence[float],
) -> tf.Tensor:
  """Returns a window of random area and shape at a random place.

  The area and the logarithm of the aspect ratio are uniform. A window that does
  not fit into the image is drawn again, ten times in all. If none fits, the
  largest central window of an allowed aspect ratio is taken. (TensorFlow's
  `sample_distorted_bounding_box` has another distribution: there the height is
  uniform, for an aspect ratio that is uniform itself.)

  Args:
    size: Height and width of the image, int32.
    uniform: Random numbers in [0, 1), float32 of shape (RANDOM_NUMBERS,).
    area: Least and greatest part of the image's area.
    aspect_ratio: Least and greatest width / height.

  Returns:
    (top, left, height, width), int32.
  """
  # Few operations, for each is a microsecond of every image.
  size = tf.cast(size, tf.float32)
  areas = area[0] + (area[1] - area[0]) * uniform[:_TRIES]
  sides = tf.sqrt(tf.reduce_prod(size) * areas)  # Of squares.
  low, high = (math.log(ratio) / 2 for ratio in aspect_ratio)
  roots = tf.exp(low + (high - low) * uniform[_TRIES : 2 * _TRIES])
  shapes = tf.round(tf.stack([sides / roots, sides * roots], axis=1))
  fits = tf.reduce_all((shapes > 0) & (shapes <= size), axis=1)
  chosen = tf.argmax(fits)
  is_found = fits[chosen]
  ratio = tf.clip_by_value(size[1] / size[0], *aspect_ratio)
  central = tf.minimum(size, size[::-1] * tf.stack([1 / ratio, ratio]))
  window = tf.where(is_found, shapes[chosen], tf.round(central))
  room = size - window
  corner = tf.floor(
    tf.where(is_found, uniform[2 * _TRIES :] * (room + 1.0), room / 2.0)
  )
  return tf.cast(tf.concat([corner, window], 0), tf.int32)


def central_square(image: tf.Tensor, size: int) -> tf.Tensor:
  """Returns the central square of an image, resized if it has another size.

  Args:
    image: uint8 (height, width, channels).
    size: Height and width of the result, in pixels.

  Returns:
    uint8 of shape (size, size, channels).
  """

  def cut():
    side = tf.minimum(tf.shape(image)[0], tf.shape(image)[1])
    square = tf.image.resize_with_crop_or_pad(image, side, side)
    resized = tf.image.resize(square, (size, size), antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(resized), 0, 255), tf.uint8)

  has_size = tf.reduce_all(tf.shape(image)[:2] == size)
  result = tf.cond(has_size, lambda: image, cut)
  return tf.ensure_shape(result, (size, size, image.shape[-1]))


def shift_and_flip(
  images: tf.Tensor,
  seed: tf.Tensor,
  rows: slice,
  padding: int,
  horizontal_flip: bool,
  fill: str = "black",
  mirrored: tf.Tensor | None = None,
) -> tf.Tensor:
  """Pads small images, crops them at random places, and flips half of them.

  Args:
    images: A global batch, uint8 (batch, size, size, channels).
    seed: int64 of shape (2,), which decides all that is random.
    rows: Which images to return.
    padding: Pixels on each side before the crop.
    horizontal_flip: Whether to mirror half of the images.
    fill: Values of these pixels, one of FILLS: black, or the image reflected at
      its edge, as in tf.pad's "REFLECT".
    mirrored: Which images to mirror, booleans of shape (batch,), in place of
      half of them by `seed`.

  Returns:
    uint8 (rows, size, size, channels).
  """
  batch, size = images.shape[0], images.shape[1]
  images = images[rows]
  # Drawn for the global batch, so that hosts agree whatever their number.
  crop_seed, flip_seed = tf.unstack(
    tf.random.experimental.stateless_split(seed, 2)
  )
  if padding:
    images = tf.pad(
      images, [[0, 0], [padding] * 2, [padding] * 2, [0, 0]], FILLS[fill]
    )
    offsets = tf.random.stateless_uniform(
      (2, batch, 1), crop_seed, maxval=2 * padding + 1, dtype=tf.int32
    )
    y, x = tf.unstack(offsets[:, rows] + tf.range(size))
    images = tf.gather(images, y, axis=1, batch_dims=1)
    images = tf.gather(images, x, axis=2, batch_dims=1)
  if horizontal_flip:
    if mirrored is None:
      mirrored = tf.random.stateless_uniform((batch,), flip_seed) < 0.5
    flip = mirrored[rows, tf.newaxis, tf.newaxis, tf.newaxis]
    images = tf.where(flip, tf.reverse(images, axis=[2]), images)
  return images
