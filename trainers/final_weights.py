"""The weights that a finished run is judged and used by."""

import keras
import numpy as np

from trainers import optimizers
from trainers.checkpoints import Checkpoints
from trainers.errors import UserError


def restore(
  which: str,
  checkpoints: Checkpoints,
  model: keras.Model,
  optimizer: keras.optimizers.Optimizer,
  count: int = 1,
) -> str:
  """Puts weights of earlier steps into `model`: the slow ones of a Lookahead.

  The optimizer is then of no use: its state is that of a checkpoint.

  Args:
    which: "best" for those with the best evaluation, "last", or "average" for
      the mean of the last `count` checkpoints.
    checkpoints: Of this model and optimizer.
    model: Built.
    optimizer: Built.
    count: How many to average.

  Returns:
    What it was, for people: "best, step 300".

  Raises:
    UserError: if there is no such checkpoint, or too few of them.
  """
  if which == "average" and count < 2:
    raise UserError(
      f"average_checkpoints={count} of this run's config makes no average: "
      "take the best or the last weights."
    )
  if which == "best":
    paths = [checkpoints.best] if checkpoints.best else []
  else:
    paths = checkpoints.paths[-(count if which == "average" else 1) :]
  if not paths:
    raise UserError(
      f"There is no {which} checkpoint in {checkpoints.workdir}: train there "
      "first."
    )
  if which == "average" and len(paths) < count:
    raise UserError(
      f"average_checkpoints={count}, but {checkpoints.workdir} has "
      f"{len(paths)}: train for longer, or set checkpoint_every_steps lower."
    )
  variables = model.trainable_variables
  sums = [np.zeros(v.shape) for v in variables]
  steps = []
  for path in paths:
    steps.append(str(checkpoints.read(path)))
    with optimizers.weights_to_evaluate(model, optimizer):
      for total, variable in zip(sums, variables):
        total += np.array(variable)
  for total, variable in zip(sums, variables):
    variable.assign(total / len(paths))
  return f"{which}, step {', '.join(steps)}"
