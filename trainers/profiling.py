"""A profile of some training steps, for TensorBoard's Profile tab."""

import re

import tensorflow as tf

from trainers.errors import UserError


def parse_steps(text: str | None) -> tuple[int, int] | None:
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


class Profiler:
  """Writes a trace of some steps into a run's event folder.

  Args:
    workdir: Directory of the run; TensorBoard reads its folder `events`.
    steps: (first, last), or None to write nothing.
  """

  def __init__(self, workdir: str, steps: tuple[int, int] | None):
    self._log_dir = tf.io.gfile.join(workdir, "events")
    self._steps = range(steps[0], steps[1] + 1) if steps else range(0)
    self._is_running = False

  def before(self, step: int) -> None:
    """Starts the trace if `step`, the next one, is in it.

    A run that goes on in the middle of these steps traces the rest of them.
    """
    if step in self._steps and not self._is_running:
      tf.profiler.experimental.start(self._log_dir)
      self._is_running = True

  def after(self, step: int) -> None:
    """Writes the trace if `step`, the one just made, is its last."""
    if self._is_running and step + 1 not in self._steps:
      tf.profiler.experimental.stop()
      self._is_running = False

  def __enter__(self) -> "Profiler":
    return self

  def __exit__(self, *exception):
    if self._is_running:
      tf.profiler.experimental.stop()
