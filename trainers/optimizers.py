"""From a config to an inner optimizer, and to Lookahead around it."""

import contextlib

import keras
import ml_collections

from lookahead_tf import Lookahead, slow_weights
from trainers.errors import UserError


def make_optimizer(
  config: ml_collections.ConfigDict,
  learning_rate: keras.optimizers.schedules.LearningRateSchedule,
) -> keras.optimizers.Optimizer:
  """Returns the optimizer of an experiment.

  Args:
    config: `config.optimizer.name` is the name of a Keras optimizer and
      `config.optimizer.arguments` its arguments; `config.lookahead` holds the
      arguments of Lookahead around it, or is None for none.
    learning_rate: Schedule over inner updates.

  Raises:
    UserError: if there is no such optimizer, or for a wrong argument.
  """
  arguments = config.optimizer.arguments.to_dict()
  classes = {
    name.lower(): value
    for name, value in vars(keras.optimizers).items()
    if isinstance(value, type)
  }
  name = config.optimizer.name.lower()
  if name not in classes:
    raise UserError(
      "optimizer.name must be the name of a Keras optimizer, such as 'sgd' or "
      f"'adamw'. Received: {config.optimizer.name!r}"
    )
  try:
    inner = classes[name](learning_rate=learning_rate, **arguments)
    if config.lookahead is None:
      return inner
    return Lookahead(inner, **config.lookahead.to_dict())
  except (TypeError, ValueError) as error:
    raise UserError(f"The optimizer of the config: {error}") from error


def check_replicas(
  optimizer: keras.optimizers.Optimizer, replicas: int
) -> None:
  """Raises a UserError if the optimizer does not do the same on replicas.

  Keras clips the gradient of each replica before it sums them, so that a limit
  means something else on each number of replicas.
  """
  inner = getattr(optimizer, "inner_optimizer", optimizer)
  for name in ("clipnorm", "clipvalue", "global_clipnorm"):
    limit = getattr(inner, name)
    if replicas > 1 and limit is not None:
      raise UserError(
        f"optimizer.arguments.{name}={limit} means something else with "
        f"{replicas} replicas than with one. Train on one device, or without."
      )


def weights_to_evaluate(
  model: keras.Model, optimizer: keras.optimizers.Optimizer
) -> contextlib.AbstractContextManager:
  """Within it `model` holds what to evaluate and to export.

  These are the slow weights if `optimizer` is a Lookahead, since Algorithm 1
  returns them, and the weights as they are if not.
  """
  if isinstance(optimizer, Lookahead):
    return slow_weights(model, optimizer)
  return contextlib.nullcontext()
