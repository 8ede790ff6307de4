"""Which variables get slow weights."""

import re
import warnings
from collections.abc import Mapping
from typing import Any

import keras

from lookahead_tf import inner_state, keras_internals
from lookahead_tf.models import path_of

# A comment within a regular expression of a saved optimizer: the group, the
# places in it of what the expression excluded, and the size of the group.
_PLACES = re.compile(r"\(\?#(\w+) ([\d,]+) of (\d+)\)")


class Exclusion:
  """The variables that Lookahead leaves to the inner optimizer.

  The paths of a model's variables change when the model is loaded or copied: a
  Sequential's lose its name, layers that Keras named get other numbers. The
  order of the variables stays. So `get_config` returns the places of the
  variables too, as comments within the regular expressions. A place counts
  where there are as many variables as before.

  Args:
    patterns: Regular expressions and variables, as checked by
      `arguments.exclude`.
  """

  def __init__(self, patterns: tuple[Any, ...]):
    self._patterns = [_Pattern(pattern) for pattern in patterns]

  def included(
    self, groups: Mapping[str, list[Any]], are_all: bool = True
  ) -> dict[str, list[bool]]:
    """Returns which variables of each group get slow weights.

    Those that match get none, nor do those that are not floating-point or that
    Keras overwrites with their gradient (float8 scales).

    Args:
      groups: Lists of variables by a word for them.
      are_all: Whether a pattern that matches none of them warns.
    """
    excluded = {name: set() for name in groups}
    for pattern in self._patterns:
      found = {
        name: pattern.find(name, group) for name, group in groups.items()
      }
      for name, places in found.items():
        excluded[name] |= places
      if are_all and not any(found.values()):
        paths = [path_of(v) for group in groups.values() for v in group]
        warnings.warn(
          f"`exclude` holds {pattern.text!r}, which is found in no variable "
          f"path, so it excludes nothing. The paths are: {paths}",
          stacklevel=4,
        )
    return {
      name: [
        i not in excluded[name]
        and inner_state.is_float(variable)
        and not keras_internals.is_set_by_gradient(variable)
        for i, variable in enumerate(group)
      ]
      for name, group in groups.items()
    }

  def get_config(self) -> list[str] | None:
    """Returns regular expressions alone, for variables those of their path."""
    return [pattern.saved() for pattern in self._patterns] or None


class _Pattern:
  """A regular expression or a variable, and what it was found to exclude.

  Attributes:
    text: The regular expression, for a variable that of its path.
  """

  def __init__(self, given: Any):
    self._variable = None if isinstance(given, str) else given
    # For each group (the places, the size of the group).
    self._saved = {}
    if self._variable is None:
      self.text = _PLACES.sub("", given)
      for name, places, size in _PLACES.findall(given):
        self._saved[name] = {int(i) for i in places.split(",")}, int(size)
    else:
      self.text = f"^{re.escape(path_of(given))}$"
    self._needs_places = bool(self._saved) or self._variable is not None

  def find(self, name: str, group: list[Any]) -> set[int]:
    """Returns the places in a group of what the pattern excludes."""
    places, size = self._saved.get(name, (None, None))
    if size != len(group):
      places = {i for i, v in enumerate(group) if self._matches(v)}
    if group:
      self._saved[name] = places, len(group)
      copied = _paths_of_a_copy([path_of(variable) for variable in group])
      self._needs_places |= places != {
        i for i, path in enumerate(copied) if re.search(self.text, path)
      }
    return places

  def saved(self) -> str:
    """Returns a regular expression that excludes the same in a copy."""
    return self.text + "".join(
      f"(?#{name} {','.join(map(str, sorted(places)))} of {size})"
      for name, (places, size) in self._saved.items()
      if places and self._needs_places
    )

  def _matches(self, variable):
    if self._variable is not None:
      # The backend's variable within one of Keras stands for that.
      own = variable.value if isinstance(variable, keras.Variable) else None
      return self._variable is variable or self._variable is own
    return re.search(self.text, path_of(variable)) is not None


def _paths_of_a_copy(paths):
  """Returns the paths that variables may have in a copy of their model."""
  roots = {path.partition("/")[0] for path in paths}
  if len(roots) > 1:
    return paths
  return [path.partition("/")[2] or path for path in paths]
