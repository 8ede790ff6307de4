"""The slow weights in the model's place, to evaluate and to export them."""

import contextlib
from collections.abc import Iterator

import keras
from keras import ops

from lookahead_tf import batch_norm, nesting
from lookahead_tf.backends import backend
from lookahead_tf.lookahead import Lookahead


class Swap:
  """The slow weights of one Lookahead in `model`, from now until `undo`.

  The fast weights wait in the memory of the host. Training is refused
  meanwhile, and the optimizer's state is that of a period which has yet to
  start, so that a file saved now holds a consistent state.

  Args:
    model: The model that `lookahead` trains.
    lookahead: A built Lookahead whose slow weights are not in the model yet.
    is_by_callback: Whether a callback made it, which Keras may fail to call
      at the end.
  """

  def __init__(
    self, model: keras.Model, lookahead: Lookahead, is_by_callback: bool
  ):
    self.is_by_callback = is_by_callback
    self._model, self._lookahead = model, lookahead
    self._train_function = getattr(model, "train_function", None)
    self._iterations = int(ops.convert_to_numpy(lookahead.iterations))
    kept = [*lookahead._counters(), *(fast for fast, _ in lookahead._pairs())]
    kept += batch_norm.statistics(model)
    self._restore = [backend.snapshot(variable) for variable in kept]
    lookahead._swap = self
    try:
      if not lookahead._is_period_to_start():
        lookahead._put_all(lookahead._pairs())
      lookahead._let_period_start()
      model.train_function = self._refuse_to_train
    except BaseException:  # Ctrl-C too.
      self.undo()
      raise

  def undo(self) -> None:
    """Puts everything back as it was, bit for bit, unless `keep` was called.

    Raises:
      RuntimeError: if there were updates meanwhile, by a compiled training step
        that could not be refused.
    """
    if self._lookahead._swap is not self:
      return
    for restore in self._restore:
      restore()
    self.keep()
    now = int(ops.convert_to_numpy(self._lookahead.iterations))
    if now != self._iterations:
      raise RuntimeError(
        f"Optimizer '{self._lookahead.name}' made {now - self._iterations} "
        "updates while the model held its slow weights. They were undone in "
        "the weights, but not in the inner optimizer's state: train outside "
        "the `slow_weights` block."
      )

  def keep(self) -> None:
    """Leaves the slow weights in the model, and forgets the fast ones."""
    self._lookahead._swap = None
    # Unless the model was compiled anew.
    if self._model.train_function == self._refuse_to_train:
      self._model.train_function = self._train_function

  def _refuse_to_train(self, *args, **kwargs):
    self._lookahead.check_that_it_can_train()


def swap_in(
  model: keras.Model,
  optimizer: keras.optimizers.Optimizer | None = None,
  is_by_callback: bool = False,
) -> contextlib.ExitStack:
  """Puts the slow weights into `model`; arguments and errors as below.

  Returns:
    What undoes it when it is closed: nothing if the model holds the slow
    weights already.
  """
  with contextlib.ExitStack() as undo:
    for lookahead in find_lookaheads(model, optimizer):
      if not lookahead.built:
        raise ValueError(
          "slow_weights needs an optimizer that is built: train a step, or "
          "call optimizer.build(model.trainable_variables). Received: "
          f"optimizer={lookahead!r}"
        )
      if lookahead._swap is None:
        undo.callback(Swap(model, lookahead, is_by_callback).undo)
    return undo.pop_all()


@contextlib.contextmanager
def slow_weights(
  model: keras.Model, optimizer: keras.optimizers.Optimizer | None = None
) -> Iterator[keras.Model]:
  """Within it `model` holds the slow weights, after it the fast ones again.

  ```python
  with lookahead_tf.slow_weights(model):
    model.evaluate(x, y)
    model.save("model.keras")
  ```

  Algorithm 1 of the paper returns the slow weights. Meanwhile the fast ones are
  kept aside, one copy of the trainable weights in the memory of the host, and
  they come back bit for bit, also after an exception, as do the statistics of
  batch normalization. Within another such block it does nothing. Under a
  `tf.distribute` strategy, enter it in the cross-replica context, where the
  training loop of the host runs.

  Args:
    model: The model that the optimizer trains.
    optimizer: The optimizer that trains it: a Lookahead, or a
      LossScaleOptimizer or MultiOptimizer around some; `model.optimizer` if
      None.

  Yields:
    `model`.

  Raises:
    ValueError: if the optimizer is no Lookahead, has no slow weights yet, or
      trains another model.
    RuntimeError: if the model is trained within it.
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
  model: keras.Model, optimizer: keras.optimizers.Optimizer | None = None
) -> list[Lookahead]:
  """Returns the outermost Lookaheads that train `model`, at least one.

  Args:
    model: The model.
    optimizer: What trains it; `model.optimizer` if None.

  Raises:
    ValueError: if there is none, or if one was built for other variables.
  """
  if optimizer is None:
    optimizer = getattr(model, "optimizer", None)
  lookaheads = []
  if isinstance(optimizer, keras.optimizers.Optimizer):
    lookaheads += nesting.outermost(optimizer, Lookahead)
  if not lookaheads:
    raise ValueError(
      "slow_weights needs a model that a Lookahead optimizer trains. "
      f"Received: optimizer={optimizer!r}"
    )
  variables = {id(variable) for variable in model.variables}
  for lookahead in lookaheads:
    if not all(id(v) in variables for v in lookahead._trainable_variables):
      raise ValueError(
        "slow_weights needs the model that the optimizer trains, but this "
        f"optimizer was built for other variables. Received: model={model!r}"
      )
  return lookaheads
