"""Arguments of Lookahead that concern each other."""

from typing import Any

import keras

from lookahead_tf import arguments, nesting
from lookahead_tf.every_step_rules import (
  EmaNesterov,
  EveryStepRule,
  PrimalAveraging,
)
from lookahead_tf.step_size import AdaptiveStepSize


def outer_optimizer(value: Any) -> Any:
  """Returns the argument `outer_optimizer`, checked: an optimizer or a rule.

  Args:
    value: None, a Keras optimizer, its name or its config, or EmaNesterov or
      PrimalAveraging, or what one of these was serialized to.

  Raises:
    TypeError: if `value` is none of these.
    ValueError: if it cannot make one step a period.
  """
  names = [kind.__name__ for kind in (EmaNesterov, PrimalAveraging)]
  if isinstance(value, dict) and value.get("class_name") in names:
    value = keras.saving.deserialize_keras_object(value)
  if value is None or isinstance(value, EveryStepRule):
    return value
  return arguments.outer_optimizer(value)


def check_together(
  *,
  inner_optimizer: Any,
  sync_period: int,
  slow_step_size: Any,
  is_step_size_given: bool,
  inner_state: str,
  slow_momentum: Any,
  slow_nesterov: bool,
  outer_optimizer: Any,
  pull_back: float,
  statistics: Any,
  local_steps: bool,
) -> None:
  """Raises a ValueError for arguments of a Lookahead that exclude each other.

  Args:
    inner_optimizer: As for Lookahead, checked, as are those below.
    sync_period: As for Lookahead.
    slow_step_size: As for Lookahead.
    is_step_size_given: Whether that is not the default.
    inner_state: As for Lookahead.
    slow_momentum: As for Lookahead.
    slow_nesterov: As for Lookahead.
    outer_optimizer: As for Lookahead.
    pull_back: As for Lookahead.
    statistics: As for Lookahead.
    local_steps: As for Lookahead.
  """
  _check_local_steps(
    local_steps, inner_optimizer, slow_step_size, inner_state, outer_optimizer
  )
  has_momentum = callable(slow_momentum) or slow_momentum > 0
  if outer_optimizer is not None:
    given = {
      "slow_step_size": slow_step_size if is_step_size_given else None,
      "slow_momentum": slow_momentum if has_momentum else None,
      "slow_nesterov": slow_nesterov or None,
    }
    _check_outer_optimizer(outer_optimizer, given, inner_optimizer, statistics)
  if isinstance(outer_optimizer, EveryStepRule):
    check_every_step(outer_optimizer, sync_period)
    if pull_back != 1:
      raise ValueError(
        f"`pull_back` must be 1 with {type(outer_optimizer).__name__}, which "
        f"says where fast weights go. Received: pull_back={pull_back!r}"
      )
  if has_momentum and isinstance(slow_step_size, AdaptiveStepSize):
    raise ValueError(
      "`slow_step_size` must be a float or a LearningRateSchedule with "
      "`slow_momentum`: the best step along one line says nothing of a step "
      f"with momentum. Received: slow_step_size={slow_step_size!r}, "
      f"slow_momentum={slow_momentum!r}"
    )
  if inner_state == "interpolate" and (
    has_momentum or outer_optimizer is not None or pull_back != 1
  ):
    raise ValueError(
      "`inner_state='interpolate'` moves slots as weights are moved between "
      "the slow and the fast ones, which needs slow_momentum=0, no "
      "outer_optimizer and pull_back=1: take 'maintain' or 'reset'. Received: "
      f"slow_momentum={slow_momentum!r}, outer_optimizer={outer_optimizer!r}, "
      f"pull_back={pull_back!r}"
    )


def _check_outer_optimizer(outer_optimizer, given, inner_optimizer, statistics):
  """Raises a ValueError for what excludes an outer optimizer.

  `given` are the arguments that it takes the place of, None if left out.
  """
  received = f"outer_optimizer={outer_optimizer!r}"
  rule = "`outer_optimizer`"
  if isinstance(outer_optimizer, EveryStepRule):
    rule = type(outer_optimizer).__name__
  for name, value in given.items():
    if value is not None:
      raise ValueError(
        f"`{name}` must be left out with {rule}, which has a step size and a "
        f"momentum of its own. Received: {name}={value!r}, {received}"
      )
  inside = [inner_optimizer, *nesting.descendants(inner_optimizer)]
  if any(outer_optimizer is each for each in inside):
    raise ValueError(
      "`outer_optimizer` must be another object than the inner optimizer: "
      f"each has state for variables of its own. Received: {received}"
    )
  if statistics is not None:
    raise ValueError(
      "`statistics` must be None with `outer_optimizer`: moving statistics "
      "need a slow step size, and an outer optimizer has none. Received: "
      f"statistics={statistics!r}"
    )


def _check_local_steps(
  local_steps, inner_optimizer, slow_step_size, inner_state, outer_optimizer
):
  """Raises a ValueError for what excludes `local_steps`, or needs it."""
  inside = [inner_optimizer, *nesting.descendants(inner_optimizer)]
  if any(getattr(each, "local_steps", False) for each in inside):
    raise ValueError(
      "`inner_optimizer` must be without `local_steps`, which are those of the "
      f"outermost Lookahead. Received: inner_optimizer={inner_optimizer!r}"
    )
  if not local_steps:
    if inner_state == "average":
      raise ValueError(
        "`inner_state='average'` is for replicas that have slots of their own, "
        "and needs local_steps=True: take 'maintain'. Received: "
        f"inner_state={inner_state!r}, local_steps=False"
      )
    return
  averages = any(each.use_ema for each in inside)
  adapts = any(
    isinstance(getattr(each, "_step_size", None), AdaptiveStepSize)
    for each in inside
  )
  for name, value, is_wrong, instead in (
    (
      "slow_step_size",
      slow_step_size,
      isinstance(slow_step_size, AdaptiveStepSize),
      "a float or a LearningRateSchedule",
    ),
    (
      "inner_state",
      inner_state,
      inner_state == "interpolate",
      "'maintain', 'average' or 'reset'",
    ),
    (
      "outer_optimizer",
      outer_optimizer,
      isinstance(outer_optimizer, EveryStepRule),
      "an optimizer of Keras, or None",
    ),
    ("inner_optimizer", inner_optimizer, averages, "without use_ema"),
    ("inner_optimizer", inner_optimizer, adapts, "without AdaptiveStepSize"),
  ):
    if is_wrong:
      raise ValueError(
        f"`{name}` must be {instead} with `local_steps`: within a period the "
        f"weights of the replicas differ. Received: {name}={value!r}"
      )


def check_every_step(rule: Any, sync_period: int) -> None:
  """Raises a ValueError if a rule needs periods of one update, and has not."""
  if isinstance(rule, EveryStepRule) and sync_period != 1:
    raise ValueError(
      f"`sync_period` must be 1 with {type(rule).__name__}, a rule for each "
      f"update. Received: sync_period={sync_period}"
    )
