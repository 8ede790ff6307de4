"""The slow weights in the model's place, to evaluate and to export them."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from lookahead_tf import batch_norm, keras_internals, models, nesting
from lookahead_tf.backends import backend
from lookahead_tf.lookahead import Lookahead


class Swap:
  """The slow weights of one Lookahead in `model`, from now until `undo`.

  The fast weights wait in the memory of the host. Training is refused
  meanwhile, and the optimizer's state is that of a period which has yet to
  start, so that a file saved now holds a consistent state.

  Args:
    model: What `lookahead` trains.
    lookahead: A built Lookahead whose slow weights are not in the model yet.
    is_by_callback: Whether a callback made it, which Keras may fail to call
      at the end.
  """

  def __init__(self, model: Any, lookahead: Lookahead, is_by_callback: bool):
    self.is_by_callback = is_by_callback
    self._lookahead = lookahead
    self._models = models.trained_by_keras(model)
    self._updates = _number(lookahead.iterations)
    kept = [*lookahead.counters()]
    kept += [fast for fast, _ in lookahead.swapped()]
    self._restore = [backend.snapshot(variable) for variable in kept]
    self._restore_statistics = [
      backend.snapshot(variable) for variable in batch_norm.statistics(model)
    ]
    try:
      lookahead.begin_evaluation(self)
      for trained in self._models:
        _Refusal.start(trained, lookahead)
    except BaseException:  # Ctrl-C too.
      self.undo()
      raise

  def undo(self) -> None:
    """Puts everything back as it was, bit for bit, unless `keep` was called.

    Raises:
      RuntimeError: if there were updates meanwhile, by a compiled training step
        that could not be refused.
    """
    if self._lookahead.evaluation is not self:
      return
    for restore in self._restore + self._restore_statistics:
      restore()
    self.keep()
    now = _number(self._lookahead.iterations)
    if now != self._updates:
      raise RuntimeError(
        f"Optimizer '{self._lookahead.name}' made {now - self._updates} "
        "updates while the model held its slow weights. They were undone in "
        "the weights, but not in the inner optimizer's state: train outside "
        "the `slow_weights` block."
      )

  def undo_unless_changed(self) -> None:
    """As `undo`, but keeps weights or state that came from elsewhere.

    It is for a swap that an interruption has left: since then weights may have
    been assigned to the model, or a file been loaded.
    """
    if self._is_changed():
      self.keep()
    else:
      self._restore_statistics = []  # No swap changes them.
      self.undo()

  def _is_changed(self):
    return (
      not self._lookahead.is_period_to_start()
      or _number(self._lookahead.iterations) != self._updates
      or not all(
        _are_equal(fast, slow) for fast, slow in self._lookahead.swapped()
      )
    )

  def keep(self) -> None:
    """Leaves in the model what it holds, and forgets the fast weights."""
    self._lookahead.evaluation = None
    for trained in self._models:
      _Refusal.end(trained, self._lookahead)


class _Refusal:
  """Stands in for what runs the training steps of a model that must not train.

  Args:
    function: What ran them before.
  """

  def __init__(self, function: Any):
    self._function = function
    self._lookaheads: list[Lookahead] = []

  def __call__(self, *args, **kwargs):
    """Raises a RuntimeError."""
    for lookahead in self._lookaheads:
      lookahead.check_that_it_can_train()

  @classmethod
  def start(cls, model: keras.Model, lookahead: Lookahead) -> None:
    """Lets `model` refuse to train for the sake of `lookahead`."""
    refusal = keras_internals.training_function(model)
    if not isinstance(refusal, cls):
      refusal = cls(refusal)
      keras_internals.set_training_function(model, refusal)
    refusal._lookaheads.append(lookahead)

  @classmethod
  def end(cls, model: keras.Model, lookahead: Lookahead) -> None:
    """Lets `model` train again, unless others have reasons why it must not."""
    refusal = keras_internals.training_function(model)
    if not isinstance(refusal, cls):
      return  # The model was compiled anew.
    refusal._lookaheads = [x for x in refusal._lookaheads if x is not lookahead]
    if not refusal._lookaheads:
      keras_internals.set_training_function(model, refusal._function)


def _number(scalar):
  return int(ops.convert_to_numpy(scalar))


def _are_equal(fast, slow):
  """Whether fast weights are what slow weights are in their dtype."""
  slow = ops.cast(slow, fast.dtype)
  fast, slow = (ops.convert_to_numpy(x) for x in (fast, slow))
  return np.array_equal(fast, slow, equal_nan=True)


def swap_in(
  model: Any,
  optimizer: Any = None,
  is_by_callback: bool = False,
) -> contextlib.ExitStack:
  """Puts the slow weights into `model`; arguments and errors as below.

  Args:
    model: As below.
    optimizer: As below.
    is_by_callback: Whether the SwapSlowWeights callback does so.

  Returns:
    What undoes it when it is closed: nothing if the model holds the slow
    weights already.
  """
  caller = "SwapSlowWeights" if is_by_callback else "slow_weights"
  lookaheads = find_lookaheads(model, optimizer, caller=caller)
  built = [lookahead for lookahead in lookaheads if lookahead.built]
  if not built:
    raise ValueError(
      f"{caller} needs an optimizer that is built: train a step, or, with a "
      "model that is built, call optimizer.build(model.trainable_variables). "
      "Received: "
      f"optimizer={lookaheads[0]!r}"
    )
  with contextlib.ExitStack() as undo:
    for lookahead in built:
      if lookahead.evaluation is None:
        lookahead.find_statistics(model)
        undo.callback(Swap(model, lookahead, is_by_callback).undo)
    return undo.pop_all()


@contextlib.contextmanager
def slow_weights(model: Any, optimizer: Any = None) -> Iterator[Any]:
  """Lets `model` hold the slow weights within the block.

  ```python
  with lookahead_tf.slow_weights(model):
    model.evaluate(x, y)
    model.save("model.keras")
  ```

  Algorithm 1 of the paper returns the slow weights. Meanwhile the fast weights
  are kept aside, one copy of the trainable weights in the memory of the host.
  They come back bit for bit at the end, also after an exception, as do the
  statistics of batch normalization. A second block inside the first does
  nothing. Under a `tf.distribute` strategy, enter it in the cross-replica
  context, where the training loop of the host runs.

  A Lookahead swaps all variables that it trains, also those that `model` does
  not hold: an encoder can be evaluated alone that is trained together with a
  decoder.

  Args:
    model: A Keras model or layer, a `tf.Module`, a variable, or a list or
      dictionary of these.
    optimizer: What trains it: a Lookahead, a LossScaleOptimizer or
      MultiOptimizer around some, or a list of these. If None, all optimizers
      that are attributes of `model`, such as `model.optimizer`.

  Yields:
    `model`.

  Raises:
    TypeError: if `model` is none of these.
    ValueError: if there is no Lookahead, if none has slow weights yet, or if
      they train other variables alone.
    RuntimeError: if the model is trained within the block.
  """
  undo = swap_in(model, optimizer)
  try:
    yield model
  except BaseException:
    with contextlib.suppress(RuntimeError):  # The first error says more.
      undo.close()
    raise
  undo.close()


def find_lookaheads(
  model: Any, optimizer: Any = None, *, caller: str
) -> list[Lookahead]:
  """Returns the outermost Lookaheads that train `model`, at least one.

  Those that are not built may come to train it.

  Args:
    model: The model, as for `slow_weights`.
    optimizer: What trains it; the attributes of `model` if None.
    caller: What the user has called or passed, for the error.

  Raises:
    TypeError: if `model` is no model.
    ValueError: if there is none, or if all were built for other variables.
  """
  models.check(model)
  optimizers = (
    models.optimizers(model)
    if optimizer is None
    else [*nesting.contents(optimizer)]
  )
  if not optimizers:
    raise ValueError(
      f"{caller} needs a model that is compiled with a Lookahead optimizer. "
      f"Received: model={model!r}, which is not compiled"
    )
  lookaheads = []
  for each in optimizers:
    if isinstance(each, keras.optimizers.Optimizer):
      lookaheads += nesting.outermost(each, Lookahead)
  if not lookaheads:
    raise ValueError(
      f"{caller} needs a model that a Lookahead optimizer trains. "
      f"Received: optimizer={optimizers!r}"
    )
  variables = {id(variable) for variable in models.variables(model)}
  related = [
    lookahead
    for lookahead in lookaheads
    if not lookahead.built
    or variables & set(map(id, keras_internals.built_variables(lookahead)))
  ]
  if not related:
    raise ValueError(
      f"{caller} needs the model that the optimizer trains, but this "
      f"optimizer was built for other variables. Received: model={model!r}"
    )
  return related
