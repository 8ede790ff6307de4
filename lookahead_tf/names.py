"""Names that Lookahead does not have, and the names that are meant by them."""

import difflib
import functools
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras

# The arguments of Lookahead in their order.
ARGUMENTS = (
  "inner_optimizer",
  "sync_period",
  "slow_step_size",
  "inner_state",
  "exclude",
  "slow_dtype",
  "name",
  "slow_momentum",
  "slow_nesterov",
  "outer_optimizer",
  "pull_back",
  "slow_device",
  "statistics",
  "local_steps",
)
# What other libraries call these arguments: see docs/migration.md.
_ELSEWHERE = {
  "inner_optimizer": (
    "base_optimizer",
    "fast_optimizer",
    "inner",
    "opt",
    "optimizer",
  ),
  "sync_period": (
    "interval",
    "k",
    "la_steps",
    "lookahead_k",
    "lookahead_mergetime",
    "lookahead_steps",
    "n_updates",
    "period",
    "steps",
    "steps_per_slow_update",
    "sync_every",
    "sync_freq",
    "synchronization",
    "synchronization_period",
  ),
  "slow_step_size": (
    "alpha",
    "la_alpha",
    "lookahead_alpha",
    "lookahead_blending_alpha",
    "outer_learning_rate",
    "outer_lr",
    "slow_learning_rate",
    "slow_lr",
    "slow_step",
    "slow_update_rate",
    "slowmo_lr",
    "step_size",
    "sync_rate",
  ),
  "inner_state": ("pullback", "pullback_momentum", "reset_state"),
  "slow_momentum": ("mu", "outer_momentum", "slowmo_factor", "slowmo_momentum"),
  "slow_nesterov": ("nesterov_slow", "outer_nesterov"),
  "outer_optimizer": ("outer_opt", "slow_optimizer"),
}
_OURS = {theirs: ours for ours, names in _ELSEWHERE.items() for theirs in names}
_OLD = {"lr": "learning_rate"}  # Of the inner optimizer.


def renamed(old: str, method: Callable[..., Any]) -> Callable[..., Any]:
  """Returns a method under its old name, which warns of the new one."""
  new = method.__name__

  @functools.wraps(method)
  def call(self, *args, **kwargs):
    warnings.warn(
      f"`{old}` is called `{new}` now, and will go in a later release.",
      DeprecationWarning,
      stacklevel=2,
    )
    return getattr(self, new)(*args, **kwargs)

  call.__name__ = old
  call.__doc__ = f"Deprecated: the old name of `{new}`."
  return call


def refuse_arguments(
  given: Mapping[str, Any], inner_optimizer: keras.optimizers.Optimizer
) -> None:
  """Raises a TypeError that says what is meant, if any argument is `given`.

  Args:
    given: The arguments that Lookahead does not have, by name.
    inner_optimizer: Some of them may be arguments of it.
  """
  if not given:
    return
  hints = "; ".join(_argument_hint(name, inner_optimizer) for name in given)
  received = ", ".join(f"{name}={value!r}" for name, value in given.items())
  raise TypeError(
    f"Lookahead got arguments that it does not have: {hints}. "
    f"Received: {received}"
  )


def _argument_hint(name, inner):
  kind = type(inner).__name__
  ours = _OURS.get(name) or _closest(name, ARGUMENTS)
  theirs = _of_inner_optimizer(name, inner)
  if name not in _OURS and theirs == name:
    return f"`{name}` belongs to the inner optimizer, {kind}({name}=...)"
  if ours == "inner_state":
    return f"`{name}` is `inner_state` here: 'maintain', 'interpolate', 'reset'"
  if ours:
    return f"`{name}` is `{ours}` here"
  if theirs:
    return f"`{name}` is unknown, the inner optimizer has `{theirs}`"
  return f"`{name}` is none of {', '.join(ARGUMENTS)}"


def describe_missing_attribute(
  name: str, inner_optimizer: keras.optimizers.Optimizer
) -> str:
  """Returns a sentence for a `name` that no attribute of Lookahead has."""
  kind = type(inner_optimizer).__name__
  ours = _OURS.get(name) or _closest(name, ARGUMENTS)
  theirs = _of_inner_optimizer(name, inner_optimizer)
  if name in ARGUMENTS:
    hint = "it is given once, when the optimizer is made"
  elif ours:
    hint = f"it is `{ours}` here"
  elif theirs:
    hint = f"the inner optimizer, {kind}, has `{theirs}`"
  else:
    hint = f"nor has the inner optimizer, {kind}"
  return f"Lookahead has no attribute `{name}`: {hint}."


def _of_inner_optimizer(name, inner):
  """Returns the attribute of an optimizer that `name` means, or None."""
  name = _OLD.get(name, name)
  return _closest(name, [x for x in dir(inner) if not x.startswith("_")])


def _closest(name: str, names: Iterable[str]) -> str | None:
  """Returns `name` if it is among `names`, or else one that is much like it."""
  names = [*names]
  close = difflib.get_close_matches(name, names, n=1, cutoff=0.85)
  return name if name in names else next(iter(close), None)
