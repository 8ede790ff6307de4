"""Blocks that a run prints at its start and at its end, and its progress.

Each function takes plain values, and none knows a task.
"""

import inspect
import math
import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tqdm

from lookahead_tf import Lookahead
from trainers import metrics, optimizers

# A name and what is told of it: a line of a block.
Line = tuple[str, str]

# The paper's k and alpha are told whatever they are by default.
_ALWAYS = ("sync_period", "slow_step_size")
_HUNDREDTHS = ("bleu", "perplexity")  # Metrics with two decimals.


def block(title: str, lines: Sequence[Line]) -> str:
  """Returns a title and, below it, lines whose values stand in one column.

  Args:
    title: The first line.
    lines: Names and values.
  """
  width = max(len(name) for name, _ in lines)
  return "\n".join(
    [title, *(f"  {name.ljust(width)}  {value}" for name, value in lines)]
  )


def counted(number: float, noun: str) -> str:
  """Returns a number and what it counts, such as "1 image" or "2,000 rows".

  Args:
    number: How many; a fraction has three digits.
    noun: What, in the singular; the plural has an s.
  """
  if number != 1:
    noun = f"{noun}es" if noun.endswith("s") else f"{noun}s"
  digits = ",.0f" if number == int(number) else ",.3g"
  return f"{number:{digits}} {noun}"


def optimizer(config: Mapping[str, Any]) -> list[Line]:
  """Returns lines on the optimizer and the learning rate of an experiment.

  Args:
    config: An experiment, as `to_dict` of its config returns it. The name of
      the optimizer is right.
  """
  lookahead, rate = config["lookahead"], config["learning_rate"]
  text = _call(
    optimizers.find_class(config["optimizer"]["name"]),
    config["optimizer"]["arguments"],
  )
  if lookahead is not None:
    text = _call(Lookahead, lookahead, text)
  schedule = f"{rate['peak']:g}, {rate['schedule']}"
  if rate["warmup"]:
    warmup = counted(rate["warmup"], rate["unit"].removesuffix("s"))
    schedule += f", after a warmup of {warmup}"
    length = config.get(f"num_{rate['unit']}")
    if length and rate["warmup"] >= length:
      schedule += ", which the run does not outlast"
  if rate["schedule"] in ("step", "rsqrt"):
    places = ", ".join(f"{place:g}" for place in rate["decay_at"])
    schedule += f", less from {rate['unit']} {places} on"
  return [("optimizer", text), ("learning rate", schedule)]


def model(name: str, built: keras.Model) -> str:
  """Returns the name of a model and how many parameters are trained."""
  count = sum(math.prod(v.shape) for v in built.trainable_variables)
  return f"{name}, {counted(count, 'parameter')}"


def length(
  total_steps: int, steps_per_epoch: int, batch: str, step: int
) -> list[Line]:
  """Returns lines on how long a run is, and where it goes on.

  Args:
    total_steps: Training steps in all.
    steps_per_epoch: Training steps in an epoch.
    batch: Examples of a step, such as "64 images".
    step: The last step that was made before, 0 for none.
  """
  epochs = counted(total_steps / steps_per_epoch, "epoch")
  lines = [
    (
      "length",
      f"{counted(total_steps, 'step')} of {batch}, {epochs} of "
      f"{counted(steps_per_epoch, 'step')}",
    )
  ]
  if step:
    last = ", the last one" if step == total_steps else ""
    lines.append(("goes on", f"from step {step:,}{last}"))
  return lines


def slow_weights(updates: int, sync_period: int) -> list[Line]:
  """Returns a line on a run that ends before its first synchronization.

  Args:
    updates: Those of the inner optimizer in all.
    sync_period: Updates in a period.
  """
  if updates >= sync_period:
    return []
  return [
    (
      "slow weights",
      "evaluated and saved as they are at the start: the run makes "
      f"{counted(updates, 'update')}, less than a period of "
      f"lookahead.sync_period={sync_period}",
    )
  ]


def outcome(workdir: str, name: str, *, is_least: bool = False) -> list[Line]:
  """Returns lines on the final and the best evaluation of a run.

  Args:
    workdir: Directory of the run.
    name: Name of the metric, such as "accuracy". The later of equal values is
      the best, as for the best checkpoint.
    is_least: Whether the least value is the best, not the greatest.
  """
  found = [
    (line[f"eval/{name}"], line["step"])
    for line in metrics.read(workdir)
    if f"eval/{name}" in line
  ]
  if not found:
    return []
  sign = -1 if is_least else 1
  best = max(
    (pair for pair in found if not math.isnan(pair[0])),
    key=lambda pair: (sign * pair[0], pair[1]),
    default=None,
  )
  lines = [(f"final {_label(name)}", _validation(name, *found[-1]))]
  if best:
    lines.append((f"best {_label(name)}", _validation(name, *best)))
  return lines


def files(workdir: str) -> list[Line]:
  """Returns lines on the files that every run leaves."""
  return [
    ("best checkpoint", os.path.join(workdir, "best")),
    ("metrics", os.path.join(workdir, "metrics.jsonl")),
  ]


def going_on(field: str) -> Line:
  """Returns a line on how a run that is finished goes on for longer.

  Args:
    field: Field of the config that says how long the run is.
  """
  return ("to go on", f"the same command with a greater --config.{field}")


def curves(workdir: str) -> Line:
  """Returns the command that shows the curves of a run."""
  events = os.path.join(workdir, "events")
  return (
    "see the curves in a browser",
    command("tensorboard.main", f"--logdir={events}"),
  )


def metric_text(name: str, value: float) -> str:
  """Returns a metric for people: an accuracy is a percentage.

  Args:
    name: Such as "accuracy", "bleu", "perplexity" or "loss".
    value: Its value.
  """
  if name.endswith("accuracy"):
    return f"{value:.2%}"
  return f"{value:.{'2f' if name in _HUNDREDTHS else '4g'}}"


def metrics_text(part: str, values: Mapping[str, float]) -> str:
  """Returns metrics for people, such as "validation loss 0.5, accuracy 90.00%".

  Args:
    part: Part of the run that they are of, such as "validation".
    values: Metrics by name.
  """
  told = ", ".join(
    f"{_label(name)} {metric_text(name, value)}"
    for name, value in values.items()
  )
  return f"{part} {told}" if told else ""


class Progress:
  """A progress bar that is a context manager.

  The bar shows the last metrics of the training. An evaluation is a line above
  the bar.

  Args:
    total_steps: Training steps in all.
    step: The last step that was made before.
    names: Names of the training metrics to show.
    is_shown: Whether there is a bar at all.
  """

  def __init__(
    self,
    total_steps: int,
    step: int,
    names: Sequence[str],
    *,
    is_shown: bool,
  ):
    self._names, self._step = names, step
    self._is_shown = is_shown
    self._bar = tqdm.tqdm(
      total=total_steps,
      initial=step,
      unit="step",
      disable=not is_shown,
    )

  def __enter__(self) -> "Progress":
    return self

  def __exit__(self, *exception):
    self._bar.close()

  def training(self, step: int, values: Mapping[str, float]) -> None:
    """Shows metrics up to `step`, named like "train/loss"."""
    shown = {name: values[f"train/{name}"] for name in self._names}
    text = metrics_text("training", shown)
    self._bar.set_postfix_str(text, refresh=False)
    self._bar.update(step - self._step)
    self._step = step

  def validation(self, step: int, values: Mapping[str, float]) -> None:
    """Shows the metrics of an evaluation after `step`, named like "loss"."""
    text = metrics_text("validation", values)
    if self._is_shown:
      self._bar.write(f"after step {step:,}: {text}")
      sys.stdout.flush()

  def tell(self, sentence: str) -> None:
    """Prints a sentence to stderr, above the bar."""
    self._bar.write(sentence, file=sys.stderr)


def command(module: str, *arguments: str) -> str:
  """Returns a command that runs a module with the Python of this process.

  Args:
    module: For `python -m`.
    *arguments: Quoted where a shell would take them for something else.
  """
  return f"{_python()} -m {shlex.join([module, *arguments])}"


def end(
  title: str, lines: Sequence[Line], next_commands: Sequence[Line]
) -> str:
  """Returns the block at the end of a run.

  Args:
    title: What was done.
    lines: Results and files.
    next_commands: What to run next: for what, and the command.
  """
  commands = [f"  # {what}\n  {text}" for what, text in next_commands]
  return "\n".join([block(title, lines), "Next:", *commands])


def _call(kind, arguments, *positional):
  """Returns a call in Python, without arguments that have their defaults."""
  parameters = inspect.signature(kind).parameters
  names = [name for name in parameters if name in arguments]
  given = [
    f"{name}={arguments[name]!r}"
    for name in [*names, *(arguments.keys() - parameters.keys())]
    if name in _ALWAYS or not _is_default(parameters.get(name), arguments[name])
  ]
  return f"{kind.__name__}({', '.join([*positional, *given])})"


def _is_default(parameter, value):
  if parameter is None:
    return False
  default = parameter.default
  return value == default or (not default and value in ((), []))


def _label(name):
  return "BLEU" if name == "bleu" else name


def _validation(name, value, step):
  return f"{metric_text(name, value)} in validation, after step {step:,}"


def _python():
  """Returns how to call this Python from the current directory."""
  found = shutil.which("python")
  if found and os.path.abspath(found) == sys.executable:
    return "python"
  relative = os.path.relpath(sys.executable)
  return shlex.quote(sys.executable if relative.startswith("..") else relative)
