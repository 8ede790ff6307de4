"""What all configs have in common, unpacked into plain values and checked.

The `experiment.py` and the `checks.py` of each trainer build on this module.
Beside these, only the modules that read the command line know ml_collections:
everything else takes what it needs by name.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import ml_collections
import tensorflow as tf

from trainers import optimizers
from trainers.errors import UserError
from trainers.learning_rates import (
  SCHEDULES,
  UNITS,
  LearningRate,
  Multiplied,
)
from trainers.plan import Plan, steps_in

# A field such as "data.size", a condition on its value, and the condition in
# words.
Range = tuple[str, Callable[[Any], bool], str]

POSITIVE = (lambda value: value > 0, "positive")
NOT_NEGATIVE = (lambda value: value >= 0, "0 or more")
FRACTION = (lambda value: 0 <= value < 1, "in [0, 1)")
SHARE = (lambda value: 0 <= value <= 1, "in [0, 1]")
HELD_OUT: Range = (
  "data.validation_fraction",
  lambda v: v is None or 0 < v < 1,
  "above 0 and below 1, or None",
)
SEED: Range = ("seed", lambda v: 0 <= v < 2**32 - 1, "in [0, 2**32 - 2]")

_LEARNING_RATE = (
  ("learning_rate.schedule", lambda v: v in SCHEDULES, f"one of {SCHEDULES}"),
  ("learning_rate.unit", lambda v: v in UNITS, f"one of {UNITS}"),
  ("learning_rate.peak", *POSITIVE),
  ("learning_rate.warmup", *NOT_NEGATIVE),
  ("learning_rate.decay_factor", *POSITIVE),
  ("learning_rate.start_factor", *SHARE),
  ("learning_rate.end_factor", *SHARE),
)


# Fields that came later, with the values that runs before them had.
_NEWER = {
  "data.validation_fraction": None,
  "data.split_seed": 0,
  "learning_rate.start_factor": 0.0,
  "learning_rate.end_factor": 0.0,
}


def of_record(
  record: Mapping[str, Any], newer: Mapping[str, Any] | None = None
) -> ml_collections.ConfigDict:
  """Returns the config of a run, which may be older than some fields.

  Args:
    record: The run's config.json.
    newer: Fields of the trainer that came later, with the values that runs
      before them had.
  """
  config = ml_collections.ConfigDict(record)
  for field, value in {**_NEWER, **(newer or {})}.items():
    group, _, name = field.rpartition(".")
    holder = config.get(group) if group else config
    if holder is not None and name not in holder:
      holder[name] = value
  return config


def check_ranges(
  config: ml_collections.ConfigDict, ranges: Sequence[Range]
) -> None:
  """Raises a UserError for the first field whose value breaks its condition."""
  for field, is_right, description in ranges:
    value = config
    for name in field.split("."):
      value = value[name]
    try:
      is_in_range = is_right(value)
    except TypeError:  # A text, or None.
      is_in_range = False
    if not is_in_range:
      raise UserError(f"{field} must be {description}. Received: {value!r}")


def smaller_batch(most: int, replicas: int) -> int:
  """Returns a batch size to propose in an error, for a small data set.

  Each replica gets a power of two, so that four batches are at most all
  examples; at least one example for each replica.

  Args:
    most: How many examples there are.
    replicas: Number of replicas.
  """
  each = max(1, most // (4 * replicas))
  return replicas * 2 ** (each.bit_length() - 1)


def check_training(
  config: ml_collections.ConfigDict, strategy: tf.distribute.Strategy
) -> None:
  """Raises a UserError for a value that no step can be trained with.

  Args:
    config: An experiment with a `global_batch_size`.
    strategy: The strategy to train with.
  """
  replicas = strategy.num_replicas_in_sync
  if config.global_batch_size % replicas:
    raise UserError(
      f"global_batch_size={config.global_batch_size} must be a multiple of the "
      f"number of replicas, which is {replicas}."
    )
  check_jit_compile(config, strategy)
  check_optimizer(config, replicas)


def check_jit_compile(
  config: ml_collections.ConfigDict, strategy: tf.distribute.Strategy
) -> None:
  """Raises a UserError for jit_compile=True where XLA cannot compile."""
  replicas = strategy.num_replicas_in_sync
  if config.jit_compile and replicas > 1:
    raise UserError(
      f"jit_compile=True cannot be used with {replicas} replicas: on TPUs the "
      "strategy compiles the step by itself, and on CPUs and GPUs XLA compiles "
      "no step in which replicas communicate. Leave jit_compile out."
    )


def plan_of_epochs(
  config: ml_collections.ConfigDict,
  steps_per_epoch: int,
  profile_steps: tuple[int, int] | None = None,
) -> Plan:
  """Returns the plan of an experiment whose lengths are epochs.

  Args:
    config: An experiment with `num_epochs`, `eval_every_epochs` and
      `checkpoint_every_epochs`.
    steps_per_epoch: Training steps in an epoch.
    profile_steps: As in `Plan`.
  """
  steps = functools.partial(steps_in, steps_per_epoch=steps_per_epoch)
  return Plan(
    total_steps=steps(config.num_epochs),
    steps_per_epoch=steps_per_epoch,
    steps_per_loop=config.steps_per_loop,
    eval_every_steps=steps(config.eval_every_epochs),
    checkpoint_every_steps=steps(config.checkpoint_every_epochs),
    global_batch_size=config.global_batch_size,
    keep_checkpoints=config.keep_checkpoints,
    profile_steps=profile_steps,
  )


def read_learning_rate(
  config: ml_collections.ConfigDict, steps_per_epoch: int, total_steps: int
) -> LearningRate:
  """Returns the learning rate that `config.learning_rate` describes.

  Args:
    config: An experiment, which `check_learning_rate` has passed. In
      `config.learning_rate`, `warmup` and `decay_at` are lengths in `unit`:
      "epochs", "steps", or "runs" for parts of the whole run; the other fields
      are those of LearningRate.
    steps_per_epoch: Training steps in an epoch.
    total_steps: Training steps in all.
  """
  rate = config.learning_rate
  scale = {"epochs": steps_per_epoch, "steps": 1, "runs": total_steps}[
    rate.unit
  ]
  return LearningRate(
    schedule=rate.schedule,
    peak=rate.peak,
    warmup=rate.warmup * scale,
    decay_at=tuple(place * scale for place in rate.decay_at),
    decay_factor=rate.decay_factor,
    start_factor=rate.start_factor,
    end_factor=rate.end_factor,
    total_steps=total_steps,
  )


def check_learning_rate(config: ml_collections.ConfigDict) -> None:
  """Raises a UserError for a value of `config.learning_rate` without sense."""
  check_ranges(config, _LEARNING_RATE)
  rate = config.learning_rate
  places = tuple(rate.decay_at)
  if rate.schedule == "step" and (
    not places or places != tuple(sorted(set(places)))
  ):
    raise UserError(
      "learning_rate.decay_at must be increasing for schedule='step', such as "
      f"(60, 120, 160). Received: {places}"
    )
  if rate.schedule == "rsqrt" and (len(places) != 1 or places[0] <= 0):
    raise UserError(
      "learning_rate.decay_at must hold one positive length for "
      f"schedule='rsqrt', after which the rate falls. Received: {places}"
    )


def read_optimizer(
  config: ml_collections.ConfigDict,
  learning_rate: LearningRate,
  strategy: tf.distribute.Strategy,
  factors: Sequence[tf.Variable] = (),
) -> tuple[keras.optimizers.Optimizer, optimizers.Clipping]:
  """Returns the optimizer of an experiment, not built, and its clipping.

  Args:
    config: An experiment, which `check_optimizer` has passed.
      `config.optimizer.name` is the name of a Keras
      optimizer, `config.optimizer.arguments` its arguments; `config.lookahead`
      holds the arguments of the Lookahead around it, and how its slow step size
      falls (see `optimizers.Recipe`), or is None for none.
    learning_rate: From `read_learning_rate`.
    strategy: The strategy to train with.
    factors: Variables that multiply the learning rate.
  """
  recipe = _read_recipe(config, learning_rate.total_steps)
  replicas = _replicas_of(recipe, strategy.num_replicas_in_sync)
  clipping = optimizers.Clipping(recipe.arguments, replicas)
  schedule = learning_rate.make_schedule()
  if factors:
    schedule = Multiplied(schedule, *factors)
  with strategy.scope():
    optimizer = optimizers.make_optimizer(recipe, schedule, replicas)
  return optimizer, clipping


def check_optimizer(
  config: ml_collections.ConfigDict, replicas: int = 1
) -> None:
  """Raises a UserError for an optimizer or an argument that does not exist.

  Args:
    config: An experiment.
    replicas: Number of replicas to train with.
  """
  recipe = _read_recipe(config)
  optimizers.check(recipe, _replicas_of(recipe, replicas))
  if recipe.has_local_steps and config.model.get("synchronized_batch_norm"):
    raise UserError(
      "lookahead.local_steps=True needs model.synchronized_batch_norm=False: "
      "synchronized batch normalization makes the replicas meet in each step. "
      "Received: model.synchronized_batch_norm=True"
    )


def _replicas_of(recipe, replicas):
  """Returns how many of the replicas share one optimizer."""
  return 1 if recipe.has_local_steps else replicas


def _read_recipe(config, total_steps=1):
  """Returns the `optimizers.Recipe` of an experiment.

  Args:
    config: An experiment.
    total_steps: As in `optimizers.Recipe`, which only `make_optimizer` needs.
  """
  lookahead = config.lookahead
  if not isinstance(lookahead, (ml_collections.ConfigDict, type(None))):
    raise UserError(
      "lookahead must be None, or hold the arguments of Lookahead, as "
      f"configs/lookahead.py adds them. Received: {lookahead!r}"
    )
  return optimizers.Recipe(
    name=config.optimizer.name,
    arguments=config.optimizer.arguments.to_dict(),
    lookahead=None if lookahead is None else lookahead.to_dict(),
    total_steps=total_steps,
  )


def without_lookahead(
  config: ml_collections.ConfigDict,
) -> ml_collections.ConfigDict:
  """Returns a copy of an experiment with the inner optimizer alone."""
  copy = ml_collections.ConfigDict(config)
  with copy.unlocked():
    copy.lookahead = None
  return copy
