"""Overrides of a config's fields: the text None unsets an optional one.

ml_collections takes the None of --config.data.test_split=None for a text, and
has no way to unset a number.
"""

from collections.abc import Mapping
from typing import Any

import ml_collections
from absl import flags
from ml_collections import config_dict, config_flags

from trainers.errors import UserError

NONE = ("None", "none")
_TUPLES = ((None,), ("none",))  # What the parser of tuples makes of it.


class _OrNone(flags.ArgumentParser):
  """Parses None too, which `resolve_none` then allows or not.

  Args:
    parser: Parses the other values.
  """

  def __init__(self, parser: flags.ArgumentParser):
    super().__init__()
    self._parser = parser
    self.syntactic_help = parser.syntactic_help

  def parse(self, argument: Any) -> Any:
    """Returns the value."""
    return None if argument in NONE else self._parser.parse(argument)

  def flag_type(self) -> str:
    """Returns what --help says of the value."""
    return self._parser.flag_type()


def register_parsers() -> None:
  """Lets the flags of configs have None for a number or a truth value."""
  for kind, parser in (
    (bool, flags.BooleanParser()),
    (float, flags.FloatParser()),
    (int, flags.IntegerParser()),
  ):
    config_flags.register_flag_parser_for_type(kind, _OrNone(parser))


def resolve_none(
  config: ml_collections.ConfigDict, overrides: Mapping[str, Any]
) -> None:
  """Unsets the optional fields of which an override says None, or "none".

  A field is optional if the config has it as a `config_dict.placeholder`. The
  text of another may be "None": whether there is such a thing is not for here.

  Args:
    config: With the overrides in it; changed in place.
    overrides: Values by field, such as "data.test_split".

  Raises:
    UserError: if a field that is not optional would be without a value.
  """
  for field, value in overrides.items():
    if not (value is None or value in (*NONE, *_TUPLES)):
      continue
    *path, name = field.split(".")
    holder = config
    for part in path:
      holder = holder[part]
    fields = dict(holder.items(preserve_field_references=True))
    if isinstance(fields[name], config_dict.FieldReference):
      holder[name] = None
    elif not isinstance(value, str):
      raise UserError(f"{field} must have a value. Received: None")
