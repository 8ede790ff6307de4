"""The slow weights in the model's place, to evaluate and to export them."""

import contextlib
from collections.abc import Iterator

import keras
from keras import ops

from lookahead_tf.lookahead import Lookahead


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
  kept aside, one copy of the trainable weights, and they come back bit for bit,
  also after an exception. Under a `tf.distribute` strategy, enter it in the
  cross-replica context, where the training loop of the host runs.

  Args:
    model: The model that the optimizer trains.
    optimizer: The optimizer that trains it, a Lookahead or a LossScaleOptimizer
      around one; `model.optimizer` if None.

  Yields:
    `model`.

  Raises:
    ValueError: if the optimizer is no Lookahead, has no slow weights yet, or
      trains another model.
  """
  lookahead = _find_lookahead(
    model.optimizer if optimizer is None else optimizer
  )
  variables = {id(variable) for variable in model.variables}
  if not all(id(v) in variables for v in lookahead._trainable_variables):
    raise ValueError(
      "slow_weights needs the model that the optimizer trains, but this "
      f"optimizer was built for other variables. Received: model={model!r}"
    )
  pairs = [
    (fast, slow)
    for fast, slow in zip(
      lookahead._trainable_variables, lookahead.slow_weights
    )
    if slow is not None
  ]
  kept = [ops.convert_to_numpy(fast) for fast, _ in pairs]
  try:
    for fast, slow in pairs:
      fast.assign(ops.convert_to_tensor(slow))
    yield model
  finally:
    for (fast, _), value in zip(pairs, kept):
      fast.assign(value)


def _find_lookahead(optimizer):
  """Returns the Lookahead that `optimizer` is or holds, built."""
  lookahead = optimizer
  if isinstance(lookahead, keras.optimizers.LossScaleOptimizer):
    lookahead = lookahead.inner_optimizer
  if not isinstance(lookahead, Lookahead):
    raise ValueError(
      "slow_weights needs a model that a Lookahead optimizer trains. "
      f"Received: optimizer={optimizer!r}"
    )
  if not lookahead.built:
    raise ValueError(
      "slow_weights needs an optimizer that is built: train a step, or call "
      f"optimizer.build(model.trainable_variables). Received: {optimizer!r}"
    )
  return lookahead
