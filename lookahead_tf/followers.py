"""Moving statistics that are synchronized with the slow weights."""

import warnings
from collections.abc import Iterator
from typing import Any

import keras

from lookahead_tf import models, synchronization
from lookahead_tf.backends import backend


class Followers:
  """The moving statistics of a model, each with its slow one.

  The forward pass of a step moves them before the optimizer makes its update.
  So a period that starts anew has the slow ones from after its first forward
  pass.

  An optimizer of Keras is given the trainable variables alone, so the model has
  to be named. A file holds the slow statistics with their shapes, and not what
  they are of: an optimizer that is loaded needs its model once more.

  Args:
    source: A checked argument `statistics`: None, a model, a list of models, or
      what `describe` returned.

  Attributes:
    model: The model, None if there is none, or not yet.
  """

  def __init__(self, source: Any):
    is_description = _is_description(source)
    self._description = source if is_description else []
    self.model = None if is_description else source
    self._slow: list[Any] = []
    self._fast: list[Any] | None = None

  def build(self, lookahead: Any, fast: list[Any]) -> None:
    """Adds the slow statistics.

    Args:
      lookahead: The Lookahead that is being built.
      fast: The statistics of `model` that are not excluded.
    """
    if self.model is None:
      self._slow = [
        lookahead.add_variable(
          shape=one["shape"], dtype=one["dtype"], name=_slow_name(one["path"])
        )
        for one in self._description
      ]
      return
    if not fast:
      warnings.warn(
        "`statistics` has no moving statistics of batch normalization that "
        "are built and not excluded, so none follow. Received: "
        f"statistics={self.model!r}",
        stacklevel=2,
      )
    self._fast = fast
    self._slow = [lookahead.add_beside(v, v.dtype, "slow") for v in fast]
    self._description = [
      {"path": v.path, "shape": [*v.shape], "dtype": v.dtype} for v in fast
    ]

  def attach(self, model: Any, fast: list[Any]) -> None:
    """Takes the statistics of a model for those of slow ones from a file.

    Args:
      model: The model.
      fast: Its statistics that are not excluded.

    Raises:
      ValueError: if they are of other shapes.
    """
    shapes = [tuple(one["shape"]) for one in self._description]
    if [tuple(v.shape) for v in fast] != shapes:
      raise ValueError(
        "`statistics` must be the model that the optimizer was saved with, "
        f"with statistics of the shapes {shapes}. Received: "
        f"statistics={model!r} with {[tuple(v.shape) for v in fast]}"
      )
    self.model, self._fast = model, fast

  @property
  def are_of_a_file(self) -> bool:
    """Whether slow statistics are those of a file, without their model."""
    return bool(self._description) and self._fast is None

  def pairs(self) -> Iterator[tuple[Any, Any]]:
    """Yields (statistic, its slow one)."""
    yield from zip(self._fast or [], self._slow)

  def moved(self, alpha: Any, pull_back: float) -> Iterator[tuple[Any, Any]]:
    """Yields the assignments of a synchronization."""
    for fast, slow in self.pairs():
      new = synchronization.slow_step(slow, fast, alpha)
      if pull_back > 0:
        yield fast, synchronization.slow_step(fast, new, pull_back)
      yield slow, new

  def describe(self) -> list[dict[str, Any]] | None:
    """Returns what an optimizer with the same slow statistics is made of."""
    return self._description or None


def _slow_name(path):
  return f"{path.replace('/', '_')}_slow"


def check(value: Any) -> Any:
  """Returns the argument `statistics`, checked.

  Args:
    value: None; a Keras model, a layer or a list of these; or what `describe`
      returned.

  Raises:
    TypeError: if `value` is none of these.
    ValueError: if the backend hands no statistics to an optimizer.
  """
  if value is None:
    return None
  if not backend.CAN_ASSIGN_STATISTICS:
    raise ValueError(
      "`statistics` must be None with KERAS_BACKEND="
      f"{keras.backend.backend()}, where a step returns them and an optimizer "
      f"cannot change them. Received: statistics={value!r}"
    )
  if not _is_description(value):
    models.check(value, "statistics")
  return value


def _is_description(value):
  return isinstance(value, list) and all(isinstance(x, dict) for x in value)
