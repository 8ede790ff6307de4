"""Gradients of several replicas: summed, then clipped, then applied."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from trainers.errors import UserError

# Arguments of a Keras optimizer, in the order in which Keras looks at them.
LIMITS = ("clipnorm", "global_clipnorm", "clipvalue")


class Clipping:
  """The clipping of an optimizer, done where it means the same on any replicas.

  Keras clips the gradient of each replica before it sums them, so that a limit
  would mean something else on each number of replicas. With several, the
  optimizer is made without limits, and this applies them to the sum. That costs
  a second reduction, since `apply` sums whatever it is given.

  Args:
    arguments: Those of the optimizer: `clipnorm` limits the norm of each
      gradient, `global_clipnorm` that of all together, `clipvalue` each number.
    replicas: How many there are. With one, Keras' own clipping stays.

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
    """Returns what this replica hands to the optimizer, which sums it.

    It is called in the replica context.

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
