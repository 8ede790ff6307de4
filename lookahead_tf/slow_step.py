"""The step of all slow weights, and of the fast weights to them."""

from collections.abc import Iterator
from typing import Any

from keras import ops

from lookahead_tf import synchronization
from lookahead_tf.outer_rules import Interpolation
from lookahead_tf.pairs import Pairs


class SlowStep:
  """What ends a period: slow weights by a rule, and fast weights to them.

  Args:
    pairs: The fast weights with their slow weights.
    rule: By which the slow weights move, built.
    pull_back: How far the fast weights return to them, a float in [0, 1].
  """

  def __init__(self, pairs: Pairs, rule: Interpolation, pull_back: float):
    self._pairs, self._rule, self._pull_back = pairs, rule, pull_back

  def assignments(self, alpha: Any) -> Iterator[tuple[Any, Any]]:
    """Yields the assignments, (variable, value), of one step.

    Args:
      alpha: Scalar: the slow step size.
    """
    rule = self._rule
    s = self._pseudo_gradients() if rule.takes_pseudo_gradient else {}
    rule.move_all(s)
    for index, fast, slow in self._pairs.indexed():
      if rule.has_state and self._is_frozen(index, fast):
        yield from rule.frozen(index, fast)
        yield slow, fast
        continue
      phi, theta = yield from rule.moved(index, slow, fast, s.get(index), alpha)
      yield from self._ends(index, fast, slow, phi, theta)

  def _pseudo_gradients(self):
    """Returns phi - theta by index, of the variables that are trained now."""
    found = {}
    for index, fast, slow in self._pairs.indexed():
      if self._is_frozen(index, fast):
        continue
      is_trained = self._pairs.is_trained(index)
      dtype = synchronization.wide(slow.dtype)
      s = ops.cast(slow, dtype) - ops.cast(fast, dtype)
      if is_trained is not True:
        s = ops.where(is_trained, s, ops.zeros_like(s))
      found[index] = s
    return found

  def _is_frozen(self, index, fast):
    """Whether a variable is known not to be trained now."""
    return self._pairs.is_trained(index) is False or not getattr(
      fast, "trainable", True
    )

  def _ends(self, index, fast, slow, phi, theta):
    """Yields the assignments of the slow weights phi and the fast ones theta.

    The fast weights go to phi where theta is None, as far as `pull_back` says.
    """
    phi = self._allowed(index, fast, phi)
    if theta is None and self._pull_back == 1:
      # The fast weights first, if that loses nothing: XLA can make their update
      # and their interpolation one.
      is_same = fast.dtype == slow.dtype
      first, second = (fast, slow) if is_same else (slow, fast)
      yield first, phi
      yield second, ops.convert_to_tensor(first)
      return
    if theta is None and self._pull_back > 0:
      theta = synchronization.slow_step(fast, phi, self._pull_back)
    yield slow, phi  # Which may be the memory of the fast weights.
    if theta is not None:
      yield fast, self._allowed(index, fast, theta)

  def _allowed(self, index, fast, point):
    """Returns the point to move weights to, or where they must or may not go.

    A constraint holds for both ends, which says nothing of a point between.
    """
    if fast.constraint is not None:
      point = fast.constraint(point)
    is_trained = self._pairs.is_trained(index)
    if is_trained is not True:
      point = ops.where(is_trained, point, ops.cast(fast, point.dtype))
    return point
