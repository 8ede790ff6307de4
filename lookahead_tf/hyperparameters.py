"""Attributes of Lookahead that can be read or assigned during training."""

from typing import Any

from keras import ops

from lookahead_tf import (
  arguments,
  compatibility,
  followers,
  models,
  step_size,
)
from lookahead_tf.between_steps import BetweenSteps


class Hyperparameters(BetweenSteps):
  """The arguments of Lookahead as attributes, and what it tells of replicas.

  Attributes:
    outer_optimizer: The outer optimizer, a Keras optimizer, or None.
    last_step_size: Scalar variable, the step size of the last synchronization,
      or that which was assigned since.
  """

  outer_optimizer: Any = None
  last_step_size: Any = None

  @property
  def sync_period(self) -> int:
    """The number of inner updates in a period, the paper's k."""
    return super().sync_period

  @sync_period.setter
  def sync_period(self, value):
    compatibility.check_every_step(self.outer_optimizer, value)
    BetweenSteps.sync_period.fset(self, value)

  @property
  def inner_state(self) -> str:
    """What becomes of the inner optimizer's slots at a synchronization."""
    return self._inner_state

  @property
  def slow_step_size(self) -> float:
    """The step size of the slow weights, the paper's alpha.

    Of a schedule it is that of the period under way, of an AdaptiveStepSize
    that of the last synchronization.
    """
    # By way of the shortest decimal: 0.8, not 0.800000011920929.
    return float(str(ops.convert_to_numpy(self._step_size.now(self))))

  @slow_step_size.setter
  def slow_step_size(self, value):
    if self.outer_optimizer is not None:
      raise TypeError(
        "`slow_step_size` cannot be assigned to with `outer_optimizer`, which "
        "has a step size of its own; that of a Keras optimizer is "
        f"`outer_optimizer.learning_rate`. Received: slow_step_size={value!r}"
      )
    if type(self._step_size) is not step_size.FixedStepSize:
      raise TypeError(
        "`slow_step_size` can be assigned to only if the optimizer was made "
        f"with a float. It was made with: {self._step_size!r}"
      )
    only = "; a schedule or an AdaptiveStepSize needs a new optimizer"
    value = arguments.fraction("slow_step_size", value, or_else=only)
    self.last_step_size.assign(value)

  @property
  def slow_momentum(self) -> float:
    """The momentum of the slow weights.

    Of a schedule it is that of the period under way. It may be assigned to if
    the optimizer was made with another than 0.
    """
    return self._outer_rule.momentum_now()

  @slow_momentum.setter
  def slow_momentum(self, value):
    value = arguments.fraction_below_1("slow_momentum", value)
    self._outer_rule.assign_momentum(value)

  @property
  def slow_nesterov(self) -> bool:
    """Whether the momentum of the slow weights has Nesterov's form."""
    return self._outer_rule.nesterov

  @property
  def statistics(self) -> Any:
    """The model whose moving statistics are synchronized, or None."""
    return self._followers.model

  @statistics.setter
  def statistics(self, model):
    models.check(model, "statistics")
    if self._followers.are_of_a_file:
      self.find_statistics(model)
    elif not self.built:
      self._followers.model = followers.check(model)
    elif model is not self.statistics:
      raise AttributeError(
        "`statistics` can be assigned to only before the optimizer is built, "
        "or if it was loaded or copied without the model: make a new optimizer "
        f"with it. Received: statistics={model!r}"
      )

  @property
  def pull_back(self) -> float:
    """How far the fast weights return to the slow weights."""
    return self._pull_back

  @property
  def local_steps(self) -> bool:
    """Whether each replica makes the steps of a period by itself."""
    return self._replicas.is_local

  def replica_variables(self) -> list[list[Any]]:
    """Returns what replicas have of their own in a period of local steps.

    A checkpoint of the model and the optimizer holds one replica's: save these
    beside it, in each process, and restore them after it.

    Returns:
      A list for each replica of this process, with the weights of the model and
      then the variables of the inner optimizer, all variables of TensorFlow. []
      on one device, without `local_steps`, and before the build.
    """
    return self._replicas.copies()

  @property
  def meeting_bytes(self) -> int:
    """The bytes that a replica gives to a meeting of local steps, or 0.

    A reduction in a ring of n replicas sends 2 (n - 1) / n times as many from
    each.
    """
    return self._replicas.meeting_bytes

  @property
  def replica_drift(self) -> float:
    """How far replicas were apart when they last met, 0 before.

    It is the root of the mean, over replicas, of the squared distance to the
    mean of the weights.
    """
    drift = self._replicas.drift
    return 0.0 if drift is None else float(ops.convert_to_numpy(drift))
