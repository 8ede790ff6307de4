"""The plan of a run: for how many steps, and what happens at which step."""

import dataclasses
import math
import re

from trainers.errors import UserError


@dataclasses.dataclass(frozen=True)
class Plan:
  """What happens at which step; steps are counted from 1.

  Attributes:
    total_steps: Training steps in all.
    steps_per_epoch: Training steps in an epoch.
    steps_per_loop: Steps in one call of the compiled loop, after which the
      host writes training metrics.
    eval_every_steps: Evaluate after every so many steps, and after the last.
    checkpoint_every_steps: Likewise for checkpoints.
    global_batch_size: Examples in a step, over all replicas.
    keep_checkpoints: How many of the last checkpoints to keep.
    profile_steps: The first and the last step of a trace, or None.

  Raises:
    UserError: if the trace would begin after the last step.
  """

  total_steps: int
  steps_per_epoch: int
  steps_per_loop: int
  eval_every_steps: int
  checkpoint_every_steps: int
  global_batch_size: int
  keep_checkpoints: int = 2
  profile_steps: tuple[int, int] | None = None

  def __post_init__(self):
    if self.profile_steps and self.profile_steps[0] > self.total_steps:
      raise UserError(
        f"--profile_steps={self.profile_steps[0]}-{self.profile_steps[1]} "
        f"begins after the last step, which is {self.total_steps}."
      )

  def next_stop(self, step: int) -> int:
    """Returns the first step after `step` at which the host has work."""
    periods = (
      self.steps_per_loop,
      self.eval_every_steps,
      self.checkpoint_every_steps,
    )
    stops = [period * (step // period + 1) for period in periods]
    if self.profile_steps:
      first, last = self.profile_steps
      stops += [stop for stop in (first - 1, last) if stop > step]
    return min(self.total_steps, *stops)

  def is_evaluation_due(self, step: int) -> bool:
    """Whether to evaluate after `step`."""
    return self._is_due(self.eval_every_steps, step)

  def is_checkpoint_due(self, step: int) -> bool:
    """Whether to save a checkpoint after `step`."""
    return self._is_due(self.checkpoint_every_steps, step)

  def _is_due(self, period, step):
    return step % period == 0 or step == self.total_steps


def steps_in(epochs: float, steps_per_epoch: int) -> int:
  """Returns the steps in so many epochs, at least one."""
  return max(1, math.ceil(epochs * steps_per_epoch))


def parse_profile_steps(text: str | None) -> tuple[int, int] | None:
  """Returns (a, b) of the flag --profile_steps=a-b, or None for no flag.

  Raises:
    UserError: if it is not a range of steps, counted from 1.
  """
  if text is None:
    return None
  numbers = re.fullmatch(r"(\d+)-(\d+)", text)
  if numbers:
    first, last = int(numbers[1]), int(numbers[2])
    if 1 <= first <= last:
      return first, last
  raise UserError(
    "--profile_steps must be two steps, counted from 1, the first not after "
    f"the last, such as 100-110. Received: {text!r}"
  )
