"""All that lookahead_tf uses of Keras that Keras does not document.

Each function says why, and what it does where a Keras lacks the member. No
other file of lookahead_tf touches such members; a test keeps that.
"""

import functools
import inspect
from collections.abc import Iterator
from typing import Any

import keras

# What an optimizer keeps in lists beside the slots of its update rule: its
# variables, an average for evaluation (`use_ema`), gradients that wait for the
# next update, and the slow weights of a Lookahead.
_NO_SLOTS = frozenset(
  {
    "_variables",
    "_trainable_variables",
    "_model_variables_moving_average",
    "_accumulated_gradients",
    "slow_weights",
  }
)
# For each optimizer that keeps an exponential moving average of the squared
# gradient: the list that holds it, and the attribute that is its decay.
_SECOND_MOMENTS = {
  "Adadelta": ("_accumulated_grads", "rho"),
  "Adam": ("_velocities", "beta_2"),
  "Lamb": ("_velocities", "beta_2"),
  "Nadam": ("_velocities", "beta_2"),
  "RAdam": ("velocities", "beta_2"),
  "RMSprop": ("_velocities", "rho"),
  "ScheduleFreeAdamW": ("_velocities", "beta_2"),
}
SECOND_MOMENTS = (*sorted([*_SECOND_MOMENTS, "AdamW"]),)
# For each kind of optimizer, the slots of tf.keras.optimizers.legacy and the
# lists of Keras 3 that hold the same.
_LEGACY_SLOTS = {
  "Adadelta": {
    "accum_grad": "_accumulated_grads",
    "accum_var": "_accumulated_delta_vars",
  },
  "Adagrad": {"accumulator": "_accumulators"},
  "Adam": {"m": "_momentums", "v": "_velocities", "vhat": "_velocity_hats"},
  "Adamax": {"m": "_m", "v": "_u"},
  "Ftrl": {"accumulator": "_accumulators", "linear": "_linears"},
  "Lamb": {"m": "_momentums", "v": "_velocities"},
  "RAdam": {"m": "momentums", "v": "velocities", "vhat": "velocity_hats"},
  "RMSprop": {
    "rms": "_velocities",
    "momentum": "_momentums",
    "mg": "_average_gradients",
  },
  "SGD": {"momentum": "momentums"},
}
LEGACY_OPTIMIZERS = (*_LEGACY_SLOTS,)


def _member(owner: Any, name: str) -> Any:
  """Returns an attribute without which lookahead_tf cannot work."""
  try:
    return getattr(owner, name)
  except AttributeError:
    raise NotImplementedError(
      f"lookahead_tf needs `{type(owner).__name__}.{name}`, which Keras "
      f"{keras.__version__} does not have: install a version of Keras that "
      "docs/optimizer.md names."
    ) from None


def built_variables(optimizer: keras.optimizers.Optimizer) -> list[Any]:
  """Returns the variables that an optimizer was built for, [] before.

  Slots are in lists parallel to them. Without the member there is an error.
  """
  return _member(optimizer, "_trainable_variables")


def index_of(optimizer: keras.optimizers.Optimizer, variable: Any) -> int:
  """Returns the place of a variable among `built_variables`.

  A replica's part of a variable is found too, which is another object. Without
  the member, the variable itself is looked for.

  Raises:
    KeyError: if the optimizer was built for other variables.
  """
  find = getattr(optimizer, "_get_variable_index", None)
  if find is not None:
    return find(variable)
  places = {id(v): i for i, v in enumerate(built_variables(optimizer))}
  return places[id(variable)]


def was_built_for(optimizer: keras.optimizers.Optimizer, variable: Any) -> bool:
  """Whether a variable is among `built_variables`."""
  try:
    index_of(optimizer, variable)
  except KeyError:
    return False
  return True


def counter(optimizer: keras.optimizers.Optimizer) -> Any:
  """Returns the variable behind `iterations`, which counts calls of `apply`.

  `iterations` itself is the inner optimizer's in Lookahead, and a quotient
  where gradients are accumulated. Without the member there is an error.
  """
  return _member(optimizer, "_iterations")


def count_on_each_replica(
  optimizer: keras.optimizers.Optimizer, count: int = 0
) -> None:
  """Lets each replica of a tf.distribute strategy count by itself.

  The first replica's `iterations` is what Keras sends to all others, although
  they count the same. On TPUs that is an operation by which all cores meet, in
  each step. Without the members, and on other backends, it stays as it is: the
  results are the same.

  Args:
    optimizer: The optimizer.
    count: Where the count stands.
  """
  variable = counter(optimizer)
  if keras.backend.backend() == "tensorflow" and hasattr(
    variable, "_aggregation"
  ):
    variable._aggregation = "none"
    variable._initialize(count)


def update_on_each_replica(
  optimizer: keras.optimizers.Optimizer, count: int = 0
) -> None:
  """Lets each replica of a tf.distribute strategy make updates by itself.

  It is for an optimizer whose gradients are the same on all replicas, or that
  is to move each replica by its own gradients. Keras sums gradients over
  replicas, and leaves the replicas for the updates, which it cannot do from a
  loop. What the class of an optimizer does in its own way is left to it.
  Without the members, and on other backends, the optimizer stays as it is,
  which is right for one replica.

  Args:
    optimizer: Any optimizer. It may be given more than once.
    count: The updates that it has made.
  """
  if (
    keras.backend.backend() != "tensorflow"
    or "_all_reduce_sum_gradients" in vars(optimizer)
  ):
    return
  count_on_each_replica(optimizer, count)
  for name, function in _UPDATES.items():
    if _is_of_backend(optimizer, name):
      setattr(optimizer, name, functools.partial(function, optimizer))
  optimizer._all_reduce_sum_gradients = list


def updates_within_loops(optimizer: keras.optimizers.Optimizer) -> bool:
  """Whether `update_on_each_replica` lets an optimizer update in a loop.

  It does not where the class of the optimizer has a way of its own (Nadam).
  """
  return _is_of_backend(optimizer, "_backend_update_step")


def _is_of_backend(optimizer, name):
  """Whether a method of an optimizer is that of Keras for TensorFlow."""
  for kind in type(optimizer).__mro__:
    if name in vars(kind):
      return kind.__module__.startswith("keras.src.backend.")
  return False


def _update_copies(optimizer, gradients, variables, learning_rate):
  for gradient, variable in zip(gradients, variables):
    optimizer.update_step(gradient, variable, learning_rate)


def _accumulate_copies(optimizer, gradients, accumulators):
  for gradient, accumulator in zip(gradients, accumulators):
    optimizer.assign_add(accumulator, gradient)


def _decay_copies(optimizer, variables):
  if optimizer.weight_decay is None:
    return
  for variable in variables:
    if optimizer._use_weight_decay(variable):
      factor = optimizer.learning_rate * optimizer.weight_decay
      optimizer.assign_sub(
        variable, variable * keras.ops.cast(factor, variable.dtype)
      )


_UPDATES = {
  "_backend_update_step": _update_copies,
  "_apply_weight_decay": _decay_copies,
  "_backend_increment_gradient_accumulators": _accumulate_copies,
}


def add_copy(
  optimizer: keras.optimizers.Optimizer, variable: Any, **arguments: Any
) -> Any:
  """Adds a variable to an optimizer with the layout of another variable.

  The layout is that of keras.distribution on JAX: `add_variable` takes it since
  Keras 3.10; before, it is given to the new variable. Without the member there
  are no layouts.

  Args:
    optimizer: The optimizer.
    variable: Any variable.
    **arguments: Further arguments of `add_variable`.
  """
  layout = getattr(variable, "_layout", None)
  if layout is None:
    return optimizer.add_variable(**arguments)
  if "layout" in inspect.signature(optimizer.add_variable).parameters:
    return optimizer.add_variable(layout=layout, **arguments)
  added = optimizer.add_variable(**arguments)
  added._layout = layout
  added.assign(added.value)
  return added


def has_value(variable: Any) -> bool:
  """Whether a variable of Keras holds its value, which `fit` on JAX takes away.

  Reading `value` would initialize it anew. Without the member it has one.
  """
  return getattr(variable, "_value", variable) is not None


class InnerScope(keras.StatelessScope):
  """A StatelessScope within another one, whose variables it sees too.

  In Keras' own such a variable has the value that it has outside of both. So
  has it here where the scope does not know the one around it.
  """

  def get_current_value(self, variable: Any) -> Any:
    """Returns the value in this scope, or in the one around it, or None."""
    value = super().get_current_value(variable)
    around = getattr(self, "original_scope", None)
    if value is None and around is not None:
      return around.get_current_value(variable)
    return value


def is_set_by_gradient(variable: Any) -> bool:
  """Whether Keras overwrites a variable with its gradient (float8 scales).

  Without the member there are no such variables.
  """
  return getattr(variable, "overwrite_with_gradient", False)


def slot_lists(
  optimizer: keras.optimizers.Optimizer,
) -> Iterator[list[Any]]:
  """Yields each list of a built optimizer that holds a slot for each variable.

  Keras documents no way to the slots: they are in attributes of any name, lists
  parallel to the variables. What an optimizer keeps otherwise is not found.
  """
  variables = built_variables(optimizer)
  for name, value in vars(optimizer).items():
    if (
      name not in _NO_SLOTS
      and isinstance(value, (list, tuple))
      and len(value) == len(variables)
    ):
      yield value


def second_moment(optimizer: keras.optimizers.Optimizer) -> Any:
  """Returns the second moment of a built optimizer and its decay, or None.

  Returns:
    (list of variables parallel to `built_variables`, float); None for an
    optimizer without one, and where Keras calls it otherwise.
  """
  list_name, decay = _of_kind(_SECOND_MOMENTS, optimizer, (None, None))
  if list_name is None or not hasattr(optimizer, decay):
    return None
  return getattr(optimizer, list_name, None), getattr(optimizer, decay)


def legacy_slots(
  optimizer: keras.optimizers.Optimizer,
) -> dict[str, list[Any]] | None:
  """Returns the slots of a built optimizer by their names in Keras 2.

  None for a kind of optimizer that means something else by them; a list that
  Keras lacks is empty.
  """
  slots = _of_kind(_LEGACY_SLOTS, optimizer, None)
  if slots is None:
    return None
  return {
    slot: getattr(optimizer, name, None) or [] for slot, name in slots.items()
  }


def _of_kind(table, optimizer, default):
  """Returns the entry of the nearest class of an optimizer in a table."""
  names = [base.__name__ for base in type(optimizer).__mro__]
  return next((table[name] for name in names if name in table), default)


def moving_averages(optimizer: keras.optimizers.Optimizer) -> list[Any]:
  """Returns the averages that `use_ema` keeps, parallel to the variables.

  [] for an optimizer without averages.
  """
  return getattr(optimizer, "_model_variables_moving_average", [])


class ShowsInnerAverages:
  """Has the averages of the inner optimizer where Keras looks for them.

  SwapEMAWeights looks one level into a LossScaleOptimizer, so that it would
  find Lookahead alone.
  """

  @property
  def _model_variables_moving_average(self):
    return self.inner_optimizer._model_variables_moving_average


def all_layers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
  """Returns a layer and those inside it at any depth.

  `Model.layers` has the outermost alone. Without the member there is an error.
  """
  return list(_member(layer, "_flatten_layers")())


def compile_arguments(model: keras.Model) -> dict[str, Any]:
  """Returns the arguments that a model was compiled with.

  `get_compile_config` serializes them, which a loss of one's own need not
  stand. Without the member there is an error.
  """
  return _member(model, "_compile_config").config


def training_function(model: keras.Model) -> Any:
  """Returns what runs a training step, None before the first one."""
  return getattr(model, "train_function", None)


def set_training_function(model: keras.Model, function: Any) -> None:
  """Lets `fit` and `train_on_batch` run `function`, until the next `compile`.

  `make_train_function` would have to be overridden in the class of the model. A
  Keras that does not read the member trains, where it should refuse to.
  """
  model.train_function = function


def read_state(model: keras.Model) -> None:
  """Brings the variables up to date: JAX's `fit` keeps their values elsewhere.

  Without the member they are up to date.
  """
  if hasattr(model, "jax_state_sync"):
    model.jax_state_sync()
