"""From a config to an inner optimizer, and to Lookahead around it."""

import contextlib

import keras
import ml_collections

from lookahead_tf import Lookahead, slow_weights
from lookahead_tf.backends import backend
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
  _check_averaging(arguments, config.lookahead, replicas)
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


def _check_averaging(arguments, lookahead, replicas):
  """Raises a UserError for a moving average that cannot be had."""
  if not arguments.get("use_ema"):
    return
  if lookahead is not None:
    raise UserError(
      "optimizer.arguments.use_ema=True and lookahead exclude each other: what "
      "is evaluated is either the moving average or the slow weights."
    )
  if replicas > 1 and arguments.get("ema_overwrite_frequency"):
    raise UserError(
      "optimizer.arguments.ema_overwrite_frequency works on one device only, "
      f"and there are {replicas}. Leave it out: the moving average is what is "
      "evaluated and saved all the same."
    )


def weights_to_evaluate(
  model: keras.Model, optimizer: keras.optimizers.Optimizer
) -> contextlib.AbstractContextManager:
  """Within it `model` holds what to evaluate and to export.

  These are the slow weights if there is a Lookahead, since Algorithm 1 returns
  them, the moving average of the weights if the optimizer has one (Polyak
  averaging), and else the weights as they are. The statistics of batch
  normalization stay those of training.

  After it the model has the same bits as before.
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
  """Within it the trained variables hold their moving averages."""
  averages = [
    (variable, average)
    for variable, average in zip(
      optimizer._trainable_variables, optimizer._model_variables_moving_average
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
