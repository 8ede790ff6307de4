"""To Lookahead from the bare inner optimizer and back, in a compiled model."""

from typing import Any

import keras

from lookahead_tf import keras_internals, models
from lookahead_tf.evaluation import find_lookaheads
from lookahead_tf.lookahead import Lookahead


def wrap_optimizer(model: keras.Model, **arguments: Any) -> Lookahead:
  """Puts Lookahead around the optimizer that `model` is compiled with.

  The model was trained, or loaded from a file, with the bare inner optimizer.
  Its weights become the slow weights; the state of the inner optimizer
  (moments, step count) stays:

  ```python
  model = keras.models.load_model("adam.keras")
  lookahead_tf.wrap_optimizer(model, sync_period=5)
  model.fit(...)
  ```

  A LossScaleOptimizer stays outside. In a loop of your own no call is needed:
  `Lookahead(optimizer)` takes an optimizer that is built already.

  Args:
    model: A compiled model.
    **arguments: Those of Lookahead, but for `inner_optimizer`.

  Returns:
    The Lookahead.

  Raises:
    ValueError: if the model is not compiled, or has a Lookahead already, or
      for a wrong argument.
  """
  inner = _optimizer_of(model)
  if isinstance(inner, Lookahead):
    raise ValueError(
      "wrap_optimizer needs a model without Lookahead. Received: a model with "
      f"optimizer={model.optimizer!r}"
    )
  lookahead = Lookahead(inner, **arguments)
  if inner.built:
    lookahead.build(model.trainable_variables)
  _recompile(model, lookahead)
  return lookahead


def unwrap_optimizer(model: keras.Model) -> keras.optimizers.Optimizer:
  """Takes Lookahead away, and leaves the slow weights in `model`.

  The model goes on with the inner optimizer, whose state stays. This undoes
  `wrap_optimizer`.

  Args:
    model: A model that is compiled with a Lookahead.

  Returns:
    The inner optimizer.

  Raises:
    ValueError: if the model is not compiled with a Lookahead.
  """
  lookahead, *others = find_lookaheads(model, caller="unwrap_optimizer")
  if others or lookahead is not _optimizer_of(model):
    raise ValueError(
      "unwrap_optimizer needs a model that one Lookahead trains. Received: a "
      f"model with optimizer={model.optimizer!r}"
    )
  lookahead.finish_training()
  _recompile(model, lookahead.inner_optimizer)
  return lookahead.inner_optimizer


def _optimizer_of(model):
  """Returns the optimizer that `model` has, within a LossScaleOptimizer."""
  models.check(model)
  optimizer = getattr(model, "optimizer", None)
  if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
    optimizer = optimizer.inner_optimizer
  if optimizer is None:
    raise ValueError(
      f"`model` must be compiled with an optimizer. Received: model={model!r}"
    )
  return optimizer


def _recompile(model, optimizer):
  """Compiles `model` with all as it is, but for the optimizer."""
  outer = model.optimizer
  if isinstance(outer, keras.optimizers.LossScaleOptimizer):
    outer.inner_optimizer = optimizer
    optimizer = outer
  arguments = keras_internals.compile_arguments(model)
  model.compile(**arguments | {"optimizer": optimizer})
