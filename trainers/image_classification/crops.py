"""Which part of a photo is trained and evaluated on, at which size.

Training takes a random part: torchvision's RandomResizedCrop, which the
paper's ImageNet recipe uses. Evaluation resizes the shorter side, and takes the
central square. Both resize by bilinear interpolation, and round to whole
numbers; with `data.antialias` they do as Pillow, and thus torchvision, does,
whose filter is as wide as the reduction asks for.
"""

import math
from collections.abc import Sequence

import ml_collections
import tensorflow as tf

from trainers.image_classification import decoding

AREA = (0.08, 1.0)
ASPECT_RATIO = (3 / 4, 4 / 3)
# Of a random crop, before it is given up for a central one.
_TRIES = 10
# Of `random_window`: an area and a ratio for each try, and a place.
RANDOM_NUMBERS = 2 * _TRIES + 2


def random_crop(
  data: tf.Tensor,
  channels: int,
  config: ml_collections.ConfigDict,
  seed: tf.Tensor,
) -> tf.Tensor:
  """Returns a random part of an image, resized and perhaps flipped.

  Args:
    data: Contents of an image file, a string scalar.
    channels: 1 or 3.
    config: A config's `data`.
    seed: int64 of shape (2,), which decides all that is random.

  Returns:
    uint8 of shape (image_size, image_size, channels).
  """
  uniform = tf.random.stateless_uniform((RANDOM_NUMBERS + 1,), seed)
  area = config.crop_area or AREA
  aspect_ratio = config.crop_aspect_ratio or ASPECT_RATIO
  part, _, window = decoding.decode_part(
    data,
    channels,
    lambda size: random_window(size, uniform[:-1], area, aspect_ratio),
  )
  if config.antialias:
    image = _scale(part, config, config.image_size / window[2:], (0.0, 0.0))
  else:  # The same as _scale, but in a third of its time.
    image = tf.raw_ops.ResizeBilinear(
      # As floats: of whole numbers it is slower than with this cast.
      images=tf.cast(part, tf.float32)[tf.newaxis],
      size=(config.image_size, config.image_size),
      half_pixel_centers=True,
    )[0]
  image = _to_uint8(image)
  if config.horizontal_flip:
    # The axes to reverse: the second, or none. Cheaper than a condition.
    is_flipped = tf.cast(uniform[-1] < 0.5, tf.int32)
    image = tf.reverse(image, tf.range(1, 1 + is_flipped))
  return tf.ensure_shape(image, (config.image_size,) * 2 + (channels,))


def central_crop(
  data: tf.Tensor, channels: int, config: ml_collections.ConfigDict
) -> tf.Tensor:
  """Returns the central square of an image whose shorter side is resized.

  As torchvision's Resize and CenterCrop; but only what the square needs is
  decoded, and what is cut off is not computed.

  Args:
    data: Contents of an image file, a string scalar.
    channels: 1 or 3.
    config: A config's `data`.

  Returns:
    uint8 of shape (image_size, image_size, channels).
  """
  crop = config.image_size
  resize = eval_resize(config)

  def resized(size):
    """Returns (height, width) after resizing; those are before."""
    return resize * size // tf.reduce_min(size)

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

  part, size, taken = decoding.decode_part(
    data, channels, window, dct_method="INTEGER_ACCURATE"
  )
  scale = resized(size) / size
  start = tf.cast(taken[:2], tf.float32) * tf.cast(scale, tf.float32)
  image = _scale(part, config, scale, start - corner(size))
  return tf.ensure_shape(_to_uint8(image), (crop, crop, channels))


def eval_resize(config: ml_collections.ConfigDict) -> int:
  """Returns the length of the shorter side before the central crop."""
  return config.eval_resize or round(config.image_size * 256 / 224)


def _scale(part, config, scale, translation):
  """Returns a square of `image_size` pixels, float32.

  Args:
    part: Pixels, uint8 (height, width, channels).
    config: A config's `data`.
    scale: By which height and width are multiplied.
    translation: Where the corner of `part` comes to lie then, in pixels of the
      result, float32 of shape (2,).
  """
  return tf.raw_ops.ScaleAndTranslate(
    images=part[tf.newaxis],
    size=(config.image_size, config.image_size),
    scale=tf.cast(scale, tf.float32),
    translation=translation,
    kernel_type="triangle",
    antialias=bool(config.antialias),
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

  The area is uniform and the logarithm of the aspect ratio is; what does not
  fit into the image is drawn again, ten times in all. If none fits, it is the
  largest central window of an allowed aspect ratio. (TensorFlow's
  `sample_distorted_bounding_box` has another distribution: there it is the
  height that is uniform, for an aspect ratio that is uniform itself.)

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
