"""Batches of a few images, for tests of pipelines."""

import itertools
from typing import Any

from trainers.image_classification.pipelines import Batching, ImagePipeline
from trainers.image_classification.pixels import Cut

_CUT = ("image_size", "horizontal_flip")


def make_batching(**fields: Any) -> Batching:
  """Returns a Batching of 4 in a step, fields of its Cut among the others."""
  cut = {"image_size": 6} | {k: fields.pop(k) for k in _CUT if k in fields}
  return Batching(
    **{
      "global_batch_size": 4,
      "seed": 0,
      "shuffle_buffer": 100,
      "cut": Cut(**cut),
      **fields,
    }
  )


def first_batches(
  pipeline: ImagePipeline, number: int, first_step: int = 0
) -> list[Any]:
  """Returns the first batches, as NumPy arrays."""
  batches = pipeline.batches(first_step).as_numpy_iterator()
  return list(itertools.islice(batches, number))
