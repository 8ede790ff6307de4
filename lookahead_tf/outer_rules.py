"""The rules by which the slow weights move at the end of a period.

In the symbols of synchronization.py, s = phi - theta is the *pseudo-gradient*
of a period: what its updates have moved the weights by, as a gradient that a
step of size 1 would follow to theta. A rule makes new slow weights of phi and
s, and of a state that is its own. docs/outer_rules.md has a card for each.
"""

from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

from lookahead_tf import (
  inner_state,
  keras_internals,
  synchronization,
)
from lookahead_tf.backends import backend
from lookahead_tf.setting import Setting


class Interpolation:
  """The rule of Lookahead: phi + alpha (theta - phi). It has no state.

  It is what the other rules start from.

  Attributes:
    can_fuse: Whether XLA may make a slow step a part of the update before it.
    has_state: Whether the rule carries anything from one period to the next.
    takes_pseudo_gradient: Whether the rule makes use of s.
    nesterov: Whether the slow weights have momentum of Nesterov's form.
    optimizers: The Keras optimizer that makes the steps, in a list; often [].
  """

  can_fuse = True
  has_state = False
  takes_pseudo_gradient = False
  nesterov = False
  optimizers: list[keras.optimizers.Optimizer] = []

  def build(self, lookahead: Any) -> None:
    """Makes the state, once `lookahead` has its slow weights."""

  def move_all(self, s: dict[int, Any]) -> None:
    """Moves all slow weights at once, for a rule that cannot move one alone.

    Args:
      s: The pseudo-gradient of each variable that is trained, by its index.
    """
    del s  # AutoGraph cannot convert a docstring alone.

  def moved(
    self, index: int, phi: Any, theta: Any, s: Any, alpha: Any
  ) -> Iterator[tuple[Any, Any]]:
    """Yields the assignments of the state of one variable.

    Args:
      index: The index of the variable.
      phi: Its slow weights, a variable.
      theta: The variable itself, after the updates of a period.
      s: Its pseudo-gradient, a tensor in at least float32; None if the rule
        makes no use of it.
      alpha: Scalar: the slow step size.

    Returns:
      (new slow weights, new fast weights): tensors. None for the fast weights
      that go as far towards the slow ones as `pull_back` says.
    """
    yield from ()
    return synchronization.slow_step(phi, theta, alpha), None

  def started(
    self, index: int, phi: Any, theta: Any
  ) -> Iterator[tuple[Any, Any]]:
    """Yields assignments of the state where a period starts at `theta`.

    Args:
      index: The index of the variable.
      phi: Its slow weights of the last period, a variable.
      theta: The variable itself, whose value `phi` will have.
    """
    yield from ()

  def frozen(self, index: int, theta: Any) -> Iterator[tuple[Any, Any]]:
    """Yields assignments of the state where a variable is not trained."""
    yield from ()

  def momentum_now(self) -> float:
    """Returns the momentum in the period under way."""
    return 0.0

  def assign_momentum(self, value: float) -> None:
    """Assigns the momentum.

    Raises:
      AttributeError: if there is no buffer for it.
    """
    if value:
      raise AttributeError(
        "`slow_momentum` needs variables that the optimizer makes when it is "
        "made with a momentum: make a new one. Received: "
        f"slow_momentum={value!r}"
      )

  def arguments(self) -> dict[str, Any]:
    """Returns the arguments of Lookahead that stand for the rule."""
    return {
      "slow_momentum": 0.0,
      "slow_nesterov": self.nesterov,
      "outer_optimizer": None,
    }


class Buffered(Interpolation):
  """A rule with one buffer, of the shape and place of the slow weights."""

  can_fuse = False
  has_state = True
  # What the buffers are called in the paths of variables.
  buffer_name = ""

  def build(self, lookahead: Any) -> None:
    """Adds the buffers."""
    self._buffers = {
      index: lookahead.add_beside(
        fast,
        synchronization.wide(slow.dtype),
        self.buffer_name,
        lambda variable: self.initial(variable),
      )
      for index, fast, slow in lookahead.indexed()
    }

  def initial(self, theta: Any) -> Any:
    """Returns what the buffer of weights starts at, a tensor."""
    return ops.zeros(theta.shape, theta.dtype)

  def started(
    self, index: int, phi: Any, theta: Any
  ) -> Iterator[tuple[Any, Any]]:
    """Yields what starts the buffer anew."""
    del phi
    yield from self.frozen(index, theta)

  def frozen(self, index: int, theta: Any) -> Iterator[tuple[Any, Any]]:
    """Yields what starts the buffer anew."""
    buffer = self._buffers[index]
    yield buffer, ops.cast(self.initial(theta), buffer.dtype)


class SlowMomentum(Buffered):
  """Momentum of the slow weights, with the step size outside the buffer.

    b = mu b + s
    phi = phi - alpha (s + mu b) with Nesterov's form, phi - alpha b without

  PyTorch, optax and SNOO have it in this form. Keras' SGD has the learning rate
  inside the buffer: the two are equal for a constant alpha, and not where alpha
  follows a schedule.

  The buffer starts anew for weights that are others than those which the last
  period left: loaded, assigned, or frozen meanwhile.

  Args:
    momentum: Float in [0, 1) or a LearningRateSchedule over the periods done.
    nesterov: Whether to take Nesterov's form.

  """

  takes_pseudo_gradient = True
  buffer_name = "slow_momentum"

  def __init__(self, momentum: Setting, nesterov: bool):
    self._momentum, self.nesterov = momentum, nesterov

  def momentum_now(self) -> float:
    """Returns the momentum in the period under way."""
    return self._momentum.to_float()

  def assign_momentum(self, value: float) -> None:
    """Assigns the momentum."""
    self._momentum.assign(value)

  def arguments(self) -> dict[str, Any]:
    """Returns the arguments of Lookahead that stand for the rule."""
    momentum = self._momentum.serialized()
    return super().arguments() | {"slow_momentum": momentum}

  def moved(
    self, index: int, phi: Any, theta: Any, s: Any, alpha: Any
  ) -> Iterator[tuple[Any, Any]]:
    """Yields the assignment of the buffer; returns (slow weights, None)."""
    del theta
    buffer = self._buffers[index]
    mu, alpha = (ops.cast(x, s.dtype) for x in (self._momentum.now(), alpha))
    b = mu * ops.cast(buffer, s.dtype) + s
    step = s + mu * b if self.nesterov else b
    new = ops.cast(phi, s.dtype) - alpha * step
    yield buffer, b
    return ops.cast(new, phi.dtype), None

  def started(
    self, index: int, phi: Any, theta: Any
  ) -> Iterator[tuple[Any, Any]]:
    """Yields what starts the buffer anew if the weights are others than phi."""
    buffer = self._buffers[index]
    yield buffer, _select(_are_equal(phi, theta), buffer, 0.0)


class OuterOptimizer(Interpolation):
  """An optimizer of Keras, which takes the pseudo-gradient for a gradient.

  Args:
    optimizer: A Keras optimizer, not built.
  """

  can_fuse = False
  has_state = True
  takes_pseudo_gradient = True

  def __init__(self, optimizer: keras.optimizers.Optimizer):
    self._optimizer = optimizer
    self.optimizers = [optimizer]
    if backend.replicas is None or backend.replicas.count() == 1:
      return
    if not keras_internals.updates_within_loops(optimizer):
      raise ValueError(
        "`outer_optimizer` must be another optimizer on several replicas: "
        f"{type(optimizer).__name__} overrides Keras' update step, and Keras "
        "cannot run that update inside a loop. Received: "
        f"outer_optimizer={optimizer!r}"
      )
    keras_internals.update_on_each_replica(optimizer)

  def arguments(self) -> dict[str, Any]:
    """Returns the arguments of Lookahead that stand for the rule."""
    optimizer = keras.optimizers.serialize(self._optimizer)
    return super().arguments() | {"outer_optimizer": optimizer}

  def build(self, lookahead: Any) -> None:
    """Builds the optimizer for the slow weights."""
    self._slow = {index: slow for index, _, slow in lookahead.indexed()}
    self._optimizer.build([*self._slow.values()])
    self._slots = inner_state.Reset(
      self._optimizer, [*self._slow.values()], add_anchor=None
    )

  def move_all(self, s: dict[int, Any]) -> None:
    """Lets the optimizer make one update of the slow weights."""
    if s:
      gradients = [ops.cast(s[i], self._slow[i].dtype) for i in s]
      self._optimizer.apply(gradients, [self._slow[i] for i in s])

  def moved(
    self, index: int, phi: Any, theta: Any, s: Any, alpha: Any
  ) -> Iterator[tuple[Any, Any]]:
    """Returns what the optimizer has made of the slow weights, and None."""
    del index, theta, s, alpha
    yield from ()
    return ops.convert_to_tensor(phi), None

  def started(
    self, index: int, phi: Any, theta: Any
  ) -> Iterator[tuple[Any, Any]]:
    """Yields what resets the slots if the weights are others than phi."""
    kept = _are_equal(phi, theta)
    for slot, initial in self._slots.of(self._slow[index], theta):
      yield slot, _select(kept, slot, initial)

  def frozen(self, index: int, theta: Any) -> Iterator[tuple[Any, Any]]:
    """Yields what resets the slots of one variable."""
    yield from self._slots.of(self._slow[index], theta)


def from_arguments(
  lookahead: Any,
  slow_momentum: Any,
  slow_nesterov: bool,
  outer_optimizer: Any,
) -> Interpolation:
  """Returns the rule that the arguments of a Lookahead stand for.

  Args:
    lookahead: The Lookahead, without `slow_weights` yet.
    slow_momentum: As for Lookahead, checked.
    slow_nesterov: As for Lookahead, checked.
    outer_optimizer: As for Lookahead, checked.
  """
  if isinstance(outer_optimizer, Interpolation):
    return outer_optimizer
  if outer_optimizer is not None:
    return OuterOptimizer(outer_optimizer)
  if callable(slow_momentum) or slow_momentum:
    momentum = Setting(lookahead, "slow_momentum", slow_momentum)
    return SlowMomentum(momentum, slow_nesterov)
  rule = Interpolation()
  rule.nesterov = slow_nesterov  # Of a momentum of 0.
  return rule


def _are_equal(phi, theta):
  """Returns whether weights are those of the slow weights, in their dtype."""
  phi, theta = ops.convert_to_tensor(phi), ops.convert_to_tensor(theta)
  return ops.all(ops.equal(ops.cast(phi, theta.dtype), theta))


def _select(condition, variable, other):
  """Returns the value of a variable if a condition holds, else another one."""
  other = ops.cast(ops.convert_to_tensor(other), variable.dtype)
  return ops.where(condition, ops.convert_to_tensor(variable), other)
