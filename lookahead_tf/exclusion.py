"""Which variables get slow weights."""

import re
import warnings
from typing import Any

from lookahead_tf import inner_state, keras_internals


class Exclusion:
  """The variables that Lookahead leaves to the inner optimizer.

  Args:
    patterns: Regular expressions and variables, as checked by
      `arguments.exclude`.
  """

  def __init__(self, patterns: tuple[Any, ...]):
    self._patterns = patterns

  def included(self, variables: list[Any], are_all: bool = True) -> list[bool]:
    """Returns which of `variables` get slow weights.

    Those that match get none, nor do those that are not floating-point or that
    Keras overwrites with their gradient (float8 scales).

    Args:
      variables: Variables.
      are_all: Whether a pattern that matches none of them warns.
    """
    matched = [
      [_matches(pattern, variable) for variable in variables]
      for pattern in self._patterns
    ]
    for pattern, matches in zip(self._patterns, matched):
      if are_all and not any(matches):
        warnings.warn(
          f"`exclude` holds {_as_pattern(pattern)!r}, which is found in no "
          "variable path, so it excludes nothing. The paths are: "
          f"{[_path_of(variable) for variable in variables]}",
          stacklevel=4,
        )
    return [
      not any(matches[i] for matches in matched)
      and inner_state.is_float(variable)
      and not keras_internals.is_set_by_gradient(variable)
      for i, variable in enumerate(variables)
    ]

  def get_config(self) -> list[str] | None:
    """Returns regular expressions alone, for variables those of their path."""
    return [_as_pattern(pattern) for pattern in self._patterns] or None


def _path_of(variable):
  return getattr(variable, "path", variable.name)


def _as_pattern(pattern):
  if isinstance(pattern, str):
    return pattern
  return f"^{re.escape(_path_of(pattern))}$"


def _matches(pattern, variable):
  if isinstance(pattern, str):
    return re.search(pattern, _path_of(variable)) is not None
  return pattern is variable
