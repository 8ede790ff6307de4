"""Overrides of a config's fields, as --config.num_epochs=3 on a command line.

A mistake is a UserError that names what was typed.
"""

import ast
import collections
import contextlib
import dataclasses
import difflib
import math
import re
from collections.abc import Sequence

import ml_collections
from absl import flags
from ml_collections import config_dict

from trainers import optimizers
from trainers.errors import UserError

_NONE = ("None", "none")  # Values of an override that unset a field.
# A group of fields that are the arguments of the config's optimizer.
_ARGUMENTS = "optimizer.arguments"
# The arguments of Lookahead that a config with Lookahead holds.
_LOOKAHEAD = dict(
  sync_period=5, slow_step_size=0.5, inner_state="maintain", exclude=()
)
# Other names of fields, whose letters do not tell which field is meant.
_ALSO_CALLED = {
  "alpha": "lookahead.slow_step_size",
  "k": "lookahead.sync_period",
  "learning_rate": "learning_rate.peak",
  "lr": "learning_rate.peak",
  "optimizer": "optimizer.name",
}
_KINDS = {bool: "true or false", int: "a whole number", float: "a number"}


@dataclasses.dataclass(frozen=True)
class Override:
  """A field of a config, and the value that a command line gives it.

  Attributes:
    field: The name with those of its groups, such as "data.image_size".
    text: The value as it was typed, or None where none was.
    prefix: What stands before the field on this command line.
  """

  field: str
  text: str | None
  prefix: str = "--config."

  def __str__(self) -> str:
    """Returns what was typed."""
    value = "" if self.text is None else f"={self.text}"
    return f"{self.prefix}{self.field}{value}"


def take_overrides(
  arguments: Sequence[str],
) -> tuple[list[str], list[Override]]:
  """Returns a command line without its overrides, and the overrides.

  Args:
    arguments: The command line. The value of an override such as
      --config.num_epochs=3 may be the next argument too.
  """
  others, overrides = [], []
  left = collections.deque(arguments)
  while left:
    argument = left.popleft()
    if argument == "--":
      others += [argument, *left]
      break
    found = re.fullmatch(r"--?config\.([^=]*)(?:=(.*))?", argument, re.DOTALL)
    if not found:
      others.append(argument)
      continue
    field, text = found.groups()
    if text is None and left and not left[0].startswith("--"):
      text = left.popleft()
    overrides.append(Override(field, text))
  return others, overrides


def override(
  config: ml_collections.ConfigDict, overrides: Sequence[Override]
) -> list[str]:
  """Sets fields of a config; returns sentences on what else that changes.

  Another optimizer keeps the arguments of the config that it has too. An
  argument of the optimizer or of Lookahead need not be in the config:
  `experiment.check_optimizer` says whether there is such an argument. A field
  of Lookahead adds Lookahead to a config without it.

  Args:
    config: Locked; changed in place.
    overrides: The last of several for one field counts.

  Raises:
    UserError: if there is no such field, or if a field cannot have the value.
  """
  last = {one.field: one for one in overrides}
  notes = []
  with config.unlocked():
    if "optimizer.name" in last:
      notes += _change_optimizer(config, last)
    lookahead = [one for one in last if one.startswith("lookahead.")]
    if lookahead and "lookahead" in last:
      raise UserError(
        f"{last['lookahead']} and {last[lookahead[0]]} exclude each other."
      )
    if lookahead and config.get("lookahead", ...) is None:
      config.lookahead = config_dict.create(**_LOOKAHEAD)
    for one in last.values():
      _set(config, one)
    if lookahead:
      notes.append(_describe_lookahead(config))
  return notes


def suggest(name: str, config: ml_collections.ConfigDict) -> str | None:
  """Returns the field of a config that a wrong name may mean, or None."""
  fields = [
    *_leaves(config),
    *(f"lookahead.{name}" for name in _LOOKAHEAD if "lookahead" in config),
  ]
  with contextlib.suppress(AttributeError, UserError):
    known = optimizers.argument_defaults(config.optimizer.name)
    fields += [f"{_ARGUMENTS}.{argument}" for argument in known]
  wanted = name.rpartition(".")[2]
  meant = _ALSO_CALLED.get(wanted)
  if meant in fields:
    return meant

  def likeness(field):
    last = field.rpartition(".")[2]
    is_part = len(wanted) > 3 and (wanted in last or last in wanted)
    ratio = difflib.SequenceMatcher(None, wanted, last).ratio()
    return ratio + 0.3 * is_part

  best = max(fields, key=likeness, default=None)
  return best if best and likeness(best) > 0.7 else None


def _change_optimizer(config, last):
  """Sets the optimizer, and drops arguments of the config that it has not.

  Returns:
    Sentences on what was dropped, and on the learning rate that stays.
  """
  holder, name = _find(config, last["optimizer.name"])
  before, now = holder[name], last["optimizer.name"].text or ""
  known = optimizers.argument_defaults(now)
  dropped = [
    key
    for key in holder.arguments
    if key not in known and f"{_ARGUMENTS}.{key}" not in last
  ]
  notes = [
    f"{last['optimizer.name']} leaves out {_ARGUMENTS}.{key}="
    f"{holder.arguments[key]} of the config, which {now} does not have."
    for key in dropped
  ]
  for key in dropped:
    del holder.arguments[key]
  rate = "learning_rate.peak"
  if before.lower() != now.lower() and rate not in last:
    notes.append(
      f"{rate} stays {config.learning_rate.peak:g}, which the config has for "
      f"{before}: --config.{rate}=VALUE changes it."
    )
  return notes


def _describe_lookahead(config):
  """Returns a sentence on the Lookahead that fields have added or changed."""
  fields = config.lookahead.to_dict()
  text = ", ".join(f"{name}={value!r}" for name, value in fields.items())
  return f"Lookahead around {config.optimizer.name}: {text}."


def _set(config, one):
  """Sets one field of a config that is not locked."""
  if one.field == "lookahead":
    return _remove_lookahead(config, one)
  group = one.field.rpartition(".")[0]
  if group == _ARGUMENTS:
    defaults = optimizers.argument_defaults(config.optimizer.name)
    return _set_argument(config.optimizer.arguments, defaults, one)
  if group == "lookahead" and "lookahead" in config:
    return _set_argument(config.lookahead, optimizers.LOOKAHEAD, one)
  holder, name = _find(config, one)
  value = dict(holder.items(preserve_field_references=True))[name]
  if isinstance(value, ml_collections.ConfigDict):
    example = _ALSO_CALLED.get(
      one.field, f"{one.field}.{next(iter(value), 'FIELD')}"
    )
    raise UserError(
      f"{one}: {one.field} is a group of fields, {', '.join(value)}. Set one "
      f"of them, as in {one.prefix}{example}=VALUE."
    )
  is_optional = isinstance(value, config_dict.FieldReference)
  kind = value.get_type() if is_optional else type(value)
  text = one.text
  if text in _NONE and (is_optional or kind is not str):
    if not is_optional:
      raise UserError(f"{one.field} must have a value. Received: {text}")
    holder[name] = None
  else:
    holder[name] = _parse(one, kind, holder[name])


def _find(config, one):
  """Returns the group that holds a field, and the field's name in it."""
  *path, name = one.field.split(".")
  holder = config
  for part in path:
    holder = holder.get(part) if _is_group(holder) else None
  if not _is_group(holder) or name not in holder:
    close = suggest(one.field, config)
    hint = f" Did you mean {one.prefix}{close}?" if close else ""
    raise UserError(f"{one}: the config has no field {one.field!r}.{hint}")
  return holder, name


def _set_argument(holder, defaults, one):
  """Sets an argument of an optimizer, whether or not the config has it."""
  name = one.field.rpartition(".")[2]
  default = defaults.get(name)
  kinds = [type(v) for v in (default, holder.get(name)) if v is not None]
  if one.text in _NONE and default is None:
    value = None
  elif kinds:
    value = _parse(one, kinds[0], holder.get(name))
  else:
    value = _literal(_text(one))
  with holder.ignore_type():
    holder[name] = value


def _remove_lookahead(config, one):
  if one.text not in _NONE or "lookahead" not in config:
    raise UserError(
      f"{one}: lookahead is None, for no Lookahead, or a group of fields: set "
      f"one of them, as in {one.prefix}lookahead.sync_period=5."
    )
  config.lookahead = None


def _parse(one, kind, before):
  """Returns the value of a certain kind that was typed.

  Args:
    one: The override.
    kind: bool, int, float, tuple or str.
    before: The value that the config had, which says what a tuple holds.
  """
  if kind is bool and one.text is None:
    return True
  text = _text(one)
  try:
    if kind is tuple:
      return _parse_tuple(text, before or ())
    return _parse_one(text, kind)
  except (OverflowError, ValueError):
    what = _KINDS.get(kind, f"a tuple such as {before or (0.5, 1.0)}")
    raise UserError(f"{one.field} must be {what}. Received: {one}") from None


def _parse_one(text, kind):
  if kind is bool:
    return flags.BooleanParser().parse(text)
  if kind is int:
    try:
      return int(text)
    except ValueError:  # Such as 1e6.
      number = float(text)
      if not number.is_integer():
        raise
      return int(number)
  if kind is float:
    if not math.isfinite(float(text)):
      raise ValueError(text)
    return float(text)
  return text if kind is str else _literal(text)


def _parse_tuple(text, before):
  """Returns a tuple of numbers, whole ones if `before` has these, or texts."""
  value = _literal(text)
  values = tuple(value) if isinstance(value, (list, tuple)) else (value,)
  kinds = {*map(type, before)}
  if kinds == {int}:
    return tuple(_parse_one(str(v), int) for v in values)
  if kinds and kinds <= {int, float}:
    for one in values:
      _parse_one(str(one), float)
  return values


def _literal(text):
  """Returns the Python value that a text is, or else the text."""
  try:
    return ast.literal_eval(
      text.capitalize() if text in ("true", "false") else text
    )
  except (SyntaxError, TypeError, ValueError):
    return text


def _text(one):
  if one.text is None:
    raise UserError(f"{one} needs a value: {one}=VALUE.")
  return one.text


def _is_group(value):
  return isinstance(value, ml_collections.ConfigDict)


def _leaves(config, prefix=""):
  """Yields the fields of all groups, such as "data.name"."""
  for name, value in config.items():
    if _is_group(value):
      yield from _leaves(value, f"{prefix}{name}.")
    else:
      yield prefix + name
