"""Logits of an evaluation: the mean over mirrored and shifted images."""

from collections.abc import Callable
from typing import Any

from keras import ops

KINDS = ("none", "mirror", "mirror_and_shift")


def mean_logits(logits_of: Callable[[Any], Any], images: Any, kind: str) -> Any:
  """Returns the logits of images, the mean over what `kind` makes of them.

  Source: the evaluation of cifar10-airbench has "mirror_and_shift".

  Args:
    logits_of: A function of images: returns logits (batch, classes). It is
      called 1, 2 or 6 times.
    images: Float (batch, height, width, channels), a tensor or a KerasTensor.
    kind: One of KINDS. "mirror": the mean over the image and the mirrored
      image. "mirror_and_shift": half the weight is on that mean, and a quarter
      on that of the image shifted by a pixel up and left, and by a pixel down
      and right. Pixels that a shift leaves empty are reflected at the edge.

  Returns:
    Logits, float (batch, classes).
  """
  if kind == "none":
    return logits_of(images)

  def mirror(images):
    return 0.5 * logits_of(images) + 0.5 * logits_of(ops.flip(images, axis=2))

  result = mirror(images)
  if kind == "mirror":
    return result
  height, width = images.shape[1:3]
  padded = ops.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]], "reflect")
  shifted = (
    padded[:, :height, :width],
    padded[:, 2 : 2 + height, 2 : 2 + width],
  )
  return 0.5 * result + 0.25 * sum(mirror(images) for images in shifted)
