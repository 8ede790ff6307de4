"""From a config to an inner optimizer, and to Lookahead around it."""

import contextlib

import keras
import ml_collections

from lookahead_tf import Lookahead, slow_weights
from trainers import gradients, runtime
from trainers.errors import UserError


def make_optimizer(
  config: ml_collections.ConfigDict,
  learning_rate: keras.optimizers.schedules.LearningRateSchedule,
  replicas: int = 1,
) -> keras.optimizers.Optimizer:
  """Returns the optimizer of an experiment.

  With several replicas it has no limits of the gradient: `gradients.Clipping`
  has them. With float16 a LossScaleOptimizer goes around it.

  Args:
    config: `config.optimizer.name` is the name of a Keras optimizer and
      `config.optimizer.arguments` its arguments; `config.lookahead` holds the
      arguments of Lookahead around it, or is None for none.
    learning_rate: Schedule over inner updates.
    replicas: Number of replicas.

  Raises:
    UserError: if there is no such optimizer, or for a wrong argument.
  """
  arguments = config.optimizer.arguments.to_dict()
  is_float16 = runtime.precision() == "float16"
  if replicas > 1:
    for limit in gradients.LIMITS:
      arguments.pop(limit, None)
    if is_float16:
      # Keras looks for an overflow in the gradient of the first replica alone.
      raise UserError(
        f"--precision=float16 works on one device only, and there are "
        f"{replicas}: use --precision=bfloat16."
      )
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
    optimizer = classes[name](learning_rate=learning_rate, **arguments)
    if config.lookahead is not None:
      optimizer = Lookahead(optimizer, **config.lookahead.to_dict())
  except (TypeError, ValueError) as error:
    raise UserError(f"The optimizer of the config: {error}") from error
  if is_float16:
    return keras.optimizers.LossScaleOptimizer(optimizer)
  return optimizer


def weights_to_evaluate(
  model: keras.Model, optimizer: keras.optimizers.Optimizer
) -> contextlib.AbstractContextManager:
  """Within it `model` holds what to evaluate and to export.

  These are the slow weights if there is a Lookahead, since Algorithm 1 returns
  them, and the weights as they are if not.
  """
  inner = optimizer
  if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
    inner = optimizer.inner_optimizer
  if isinstance(inner, Lookahead):
    return slow_weights(model, inner)
  return contextlib.nullcontext()
