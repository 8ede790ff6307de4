"""Optimizers by name, Lookahead around them, clipping, and what to evaluate."""

import contextlib
import dataclasses
import difflib
import inspect
import numbers
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from lookahead_tf import Lookahead, keras_internals, slow_weights
from lookahead_tf.backends import backend
from trainers import devices
from trainers.averaging import NonMonotonicSgd
from trainers.errors import UserError
from trainers.learning_rates import FallingStepSize

# The arguments of a Keras optimizer that limit the gradient, in Keras' order.
LIMITS = ("clipnorm", "global_clipnorm", "clipvalue")
# Optimizers that Keras does not have.
_OWN = {"nt_asgd": NonMonotonicSgd}


def _defaults(function):
  """Returns the arguments that have a default, without the learning rate."""
  return {
    name: argument.default
    for name, argument in inspect.signature(function).parameters.items()
    if argument.default is not argument.empty and name != "learning_rate"
  }


# What a config may say of Lookahead: its arguments, but for an optimizer and a
# model, with their defaults; how the slow step size falls; and whether moving
# statistics follow the slow weights.
_FALL = {"final_slow_step_size": None, "fall_power": 1.0}
_FOLLOW = {"synchronize_statistics": False}
LOOKAHEAD = _defaults(Lookahead.__init__) | _FALL | _FOLLOW
del LOOKAHEAD["outer_optimizer"], LOOKAHEAD["statistics"]
_PAPERS_NAMES = {"k": "sync_period", "alpha": "slow_step_size"}


@dataclasses.dataclass(frozen=True)
class Recipe:
  """The optimizer of an experiment, by name.

  Attributes:
    name: Name of a class of `keras.optimizers`, in any case, or "nt_asgd".
    arguments: Arguments of that class, without the learning rate.
    lookahead: Arguments of the Lookahead around that optimizer, or None for no
      Lookahead. With "final_slow_step_size", which Lookahead does not have,
      "slow_step_size" is where a `FallingStepSize` starts, and "fall_power" its
      power. "synchronize_statistics" says whether moving statistics follow
      the slow weights, for `build`.
    total_steps: Training steps in all, over which a slow step size falls.
  """

  name: str
  arguments: Mapping[str, Any]
  lookahead: Mapping[str, Any] | None = None
  total_steps: int = 1

  @property
  def has_local_steps(self) -> bool:
    """Whether replicas are to make the steps of a period by themselves."""
    return bool(self.lookahead and self.lookahead.get("local_steps"))


def make_optimizer(
  recipe: Recipe,
  learning_rate: float | keras.optimizers.schedules.LearningRateSchedule,
  replicas: int = 1,
  name: str | None = None,
) -> keras.optimizers.Optimizer:
  """Returns the optimizer of a recipe, not built.

  With several replicas the optimizer has no limits of the gradient: `Clipping`
  applies them. With float16 a LossScaleOptimizer is around the optimizer.

  Args:
    recipe: What to make.
    learning_rate: A number, or a schedule over inner updates.
    replicas: Number of replicas.
    name: Of the optimizer and of the Lookahead; None for one that Keras makes.

  Raises:
    UserError: if there is no such optimizer, or for a wrong argument.
  """
  named = {} if name is None else {"name": name}
  arguments = {**recipe.arguments, **named}
  _check_moving_average(recipe, replicas)
  is_float16 = devices.precision() == "float16"
  if replicas > 1:
    for limit in LIMITS:
      arguments.pop(limit, None)
    if is_float16:
      # Keras looks for an overflow in the gradient of the first replica alone.
      raise UserError(
        f"--precision=float16 works on one device only, and there are "
        f"{replicas}: use --precision=bfloat16."
      )
  make = find_class(recipe.name)
  try:
    optimizer = make(learning_rate=learning_rate, **arguments)
    if recipe.lookahead is not None:
      optimizer = Lookahead(optimizer, **{**_of_lookahead(recipe), **named})
  except (TypeError, ValueError) as error:
    raise UserError(f"The optimizer of the config: {error}") from error
  if is_float16:
    return keras.optimizers.LossScaleOptimizer(optimizer)
  return optimizer


def _of_lookahead(recipe):
  """Returns the arguments of the Lookahead of a recipe."""
  arguments = dict(recipe.lookahead)
  arguments.pop("synchronize_statistics", None)
  end = arguments.pop("final_slow_step_size", None)
  power = arguments.pop("fall_power", _FALL["fall_power"])
  if end is not None:
    steps = recipe.arguments.get("gradient_accumulation_steps") or 1
    arguments["slow_step_size"] = FallingStepSize(
      arguments.get("slow_step_size", LOOKAHEAD["slow_step_size"]),
      end,
      arguments.get("sync_period", LOOKAHEAD["sync_period"]),
      max(1, recipe.total_steps // steps),
      power,
    )
  return arguments


def build(
  optimizer: keras.optimizers.Optimizer,
  model: keras.Model,
  synchronize_statistics: bool = False,
) -> None:
  """Builds the optimizer of a model.

  Args:
    optimizer: From `make_optimizer`.
    model: The model.
    synchronize_statistics: Whether a Lookahead takes the moving statistics of
      batch normalization along with the weights.
  """
  if synchronize_statistics:
    lookahead = optimizer
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
      lookahead = optimizer.inner_optimizer
    lookahead.statistics = model
  optimizer.build(model.trainable_variables)


def find_class(name: str) -> type[keras.optimizers.Optimizer]:
  """Returns the optimizer of that name, in any case.

  Raises:
    UserError: if there is none.
  """
  classes = {
    key.lower(): value
    for key, value in vars(keras.optimizers).items()
    # Without the base class, and optimizers around others.
    if isinstance(value, type)
    and "learning_rate" in inspect.signature(value.__init__).parameters
  } | _OWN
  if name.lower() not in classes:
    raise UserError(
      "optimizer.name must be the name of a Keras optimizer, one of "
      f"{', '.join(sorted(classes))}. Received: {name!r}"
    )
  return classes[name.lower()]


def argument_defaults(name: str) -> dict[str, Any]:
  """Returns the arguments of a Keras optimizer with their defaults.

  The learning rate is not among them.

  Args:
    name: Of the optimizer, in any case.

  Raises:
    UserError: if there is no such optimizer.
  """
  return _defaults(find_class(name).__init__)


def check(recipe: Recipe, replicas: int = 1) -> None:
  """Raises a UserError for a name or an argument that a recipe cannot have.

  Keras and Lookahead alone know the ranges of the arguments, and which of them
  exclude each other. So the function makes an optimizer, before the data is
  read: the learning rate of the real one depends on the size of the data. The
  checked optimizer has a name, so Keras' counter of names does not advance.

  Args:
    recipe: To be checked.
    replicas: Number of replicas that share the optimizer.
  """
  known = argument_defaults(recipe.name)
  for name, value in recipe.arguments.items():
    field = f"optimizer.arguments.{name}"
    if name == "learning_rate":
      raise UserError(
        f"The learning rate is the field learning_rate.peak. Received: {field}="
        f"{value!r}"
      )
    _check_name(field, known, recipe.name)
    _check_kind(field, value, known[name])
    if name == "weight_decay" and value is not None and value < 0:
      raise UserError(f"{field} must not be negative. Received: {value!r}")
  for name in recipe.lookahead or {}:
    _check_name(f"lookahead.{name}", LOOKAHEAD, "Lookahead")
  follow = (recipe.lookahead or {}).get("synchronize_statistics", False)
  if not isinstance(follow, bool):
    raise UserError(
      "lookahead.synchronize_statistics must be True or False. Received: "
      f"{follow!r}"
    )
  Clipping(recipe.arguments, replicas)
  make_optimizer(recipe, 0.1, replicas, name="checked")


def _check_name(field, known, owner):
  """Raises a UserError if the last part of a field is no argument."""
  name = field.rpartition(".")[2]
  if name not in known:
    meant = _PAPERS_NAMES.get(name)
    close = difflib.get_close_matches(name, known, 1, 0.85)
    close = [meant] if meant in known else close
    hint = f" Did you mean {close[0]}?" if close else ""
    raise UserError(
      f"{field}: {owner} has no argument {name!r}.{hint} There are "
      f"{', '.join(known)}."
    )


def _check_kind(field, value, default):
  """Raises a UserError for a value that is not of the kind of a default."""
  is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
  if isinstance(default, bool):
    is_right, kind = isinstance(value, bool), "True or False"
  elif isinstance(default, (int, float)):
    is_right, kind = is_number, "a number"
  else:  # None, which most often stands for no number.
    is_text = isinstance(value, str) and not field.endswith(".name")
    is_right, kind = not (is_text or isinstance(value, bool)), "a number"
  if not is_right:
    raise UserError(f"{field} must be {kind}. Received: {value!r}")


def _check_moving_average(recipe, replicas):
  """Raises a UserError for a moving average that cannot be computed."""
  arguments = recipe.arguments
  is_own = recipe.name.lower() in _OWN
  if not (is_own or arguments.get("use_ema")):
    return
  if recipe.lookahead is not None:
    cause = (
      f"optimizer.name={recipe.name!r}"
      if is_own
      else "optimizer.arguments.use_ema=True"
    )
    raise UserError(
      f"{cause} and lookahead exclude each other: what is evaluated is either "
      "the average or the slow weights."
    )
  if replicas > 1 and arguments.get("ema_overwrite_frequency"):
    raise UserError(
      "optimizer.arguments.ema_overwrite_frequency works on one device only, "
      f"and there are {replicas}. Leave it out: the moving average is what is "
      "evaluated and saved all the same."
    )


class Clipping:
  """The limits of an optimizer's gradient, the same for any number of replicas.

  Keras clips the gradient of each replica before Keras sums them, so that a
  limit would depend on the number of replicas. With several replicas
  `make_optimizer` leaves the limits out, and this class applies them to the
  sum. That costs a second reduction, since `apply` sums whatever it is given.

  Args:
    arguments: Those of the optimizer: `clipnorm` limits the norm of each
      gradient, `global_clipnorm` that of all together, `clipvalue` each number.
    replicas: Number of replicas. With one, Keras' own clipping stays.

  Raises:
    UserError: if there is more than one limit, or one that is not positive.
  """

  def __init__(self, arguments: Mapping[str, Any], replicas: int):
    self._replicas = replicas
    self._limits = {
      name: arguments[name]
      for name in LIMITS
      if arguments.get(name) is not None
    }
    if len(self._limits) > 1 or any(v <= 0 for v in self._limits.values()):
      raise UserError(
        "optimizer.arguments may hold one positive limit of the gradient, "
        f"{', '.join(LIMITS)}. Received: {self._limits}"
      )

  def __call__(self, gradients: list[Any]) -> list[Any]:
    """Returns the gradients for the optimizer, which sums them over replicas.

    Call it in the replica context.

    Args:
      gradients: This replica's part of the gradient, None where there is none.
    """
    if not self._limits or self._replicas == 1:
      return gradients
    context = tf.distribute.get_replica_context()
    present = [tf.convert_to_tensor(g) for g in gradients if g is not None]
    total = context.all_reduce(tf.distribute.ReduceOp.SUM, present)
    clipped = iter([g / self._replicas for g in self._clip(total)])
    return [None if g is None else next(clipped) for g in gradients]

  def _clip(self, gradients):
    ((name, limit),) = self._limits.items()
    if name == "clipnorm":
      return [tf.clip_by_norm(g, limit) for g in gradients]
    if name == "global_clipnorm":
      return tf.clip_by_global_norm(gradients, limit)[0]
    return [tf.clip_by_value(g, -limit, limit) for g in gradients]


def is_local(optimizer: keras.optimizers.Optimizer) -> bool:
  """Whether replicas make the steps of a period by themselves."""
  return isinstance(optimizer, Lookahead) and optimizer.local_steps


def weights_to_evaluate(
  model: keras.Model, optimizer: keras.optimizers.Optimizer
) -> contextlib.AbstractContextManager:
  """Returns a context manager in which `model` holds the weights to evaluate.

  With Lookahead these are the slow weights, which Algorithm 1 returns. With an
  optimizer that averages (Polyak averaging) these are the moving averages. Else
  the weights stay as they are. The statistics of batch normalization stay those
  of training.

  After the context manager the model has the same bits as before.
  """
  inner = optimizer
  if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
    inner = optimizer.inner_optimizer
  if isinstance(inner, Lookahead):
    return slow_weights(model, inner)
  if inner.use_ema:
    return _moving_averages(inner)
  return contextlib.nullcontext()


@contextlib.contextmanager
def _moving_averages(optimizer):
  """Returns a context manager that assigns moving averages to the variables."""
  averages = [
    (variable, average)
    for variable, average in zip(
      keras_internals.built_variables(optimizer),
      keras_internals.moving_averages(optimizer),
    )
    if average is not None
  ]
  if int(optimizer.iterations.numpy()) == 0:
    averages = []  # They begin with the first update.
  restore = [backend.snapshot(variable) for variable, _ in averages]
  try:
    for variable, average in averages:
      variable.assign(average)
    yield
  finally:
    for function in restore:
      function()
