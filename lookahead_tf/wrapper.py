"""An optimizer around another, apart from what it is around it for."""

import contextlib
import copy
import warnings
from typing import Any

import keras
import numpy as np
from keras import ops

from lookahead_tf import keras_internals, models, names, nesting
from lookahead_tf.backends import backend

# Attributes of Keras' optimizers for which they make variables as they build.
_MAKE_VARIABLES = (
  "amsgrad",
  "centered",
  "gradient_accumulation_steps",
  "momentum",
  "use_ema",
)


def _passed_on(name: str, default: Any) -> property:
  """Returns a hyperparameter of the inner optimizer, to read and to assign.

  Args:
    name: Name of the attribute.
    default: Its value in an optimizer that does without it. The base class of
      Keras assigns it before there is an inner optimizer, and must find it when
      it builds: it would add averages and gradient sums of its own.
  """

  def get(self):
    if self._is_base_class_at_work:
      return default
    return getattr(self.inner_optimizer, name)

  def set_(self, value):
    if not self._is_base_class_at_work:
      self._assign_to_inner_optimizer(name, value)

  return property(get, set_, doc=f"`{name}` of the inner optimizer.")


class OptimizerWrapper(
  keras_internals.ShowsInnerAverages, keras.optimizers.Optimizer
):
  """Passes on to the inner optimizer all that is the inner optimizer's.

  The state of a wrapper is its own variables, then those of the inner
  optimizer. On disk each is stored once, since Keras saves the inner optimizer
  as a child of the wrapper.

  A subclass implements `build`, `apply` and `get_config`.

  Args:
    inner_optimizer: A Keras optimizer.
    name: Name of the wrapper. None for a name that no other optimizer of the
      program was given by Keras: that of the class, with a number from the
      second on.
  """

  _is_base_class_at_work = True
  # Whether to refuse attributes that neither this nor the inner optimizer has.
  _refuses_attributes = False

  def __init__(
    self, inner_optimizer: keras.optimizers.Optimizer, name: str | None
  ):
    scope = _Scope(inner_optimizer, name)
    with scope.entered():
      # A callable makes the base class create no learning rate of its own.
      super().__init__(learning_rate=_inner_learning_rate, name=name)
    self.own_scope = scope
    self.inner_optimizer = inner_optimizer
    self._is_base_class_at_work = False

  def build(self, variables: list[Any]) -> None:
    """Lets Keras' base class know the `variables` of an optimizer."""
    self._is_base_class_at_work = True
    try:
      super().build(variables)
    finally:
      self._is_base_class_at_work = False

  def _build_inner_optimizer(self, variables):
    """Builds the inner optimizer, or checks what it was built for."""
    if not self.inner_optimizer.built:
      self.inner_optimizer.build(variables)
      return
    if not all(
      keras_internals.was_built_for(self.inner_optimizer, variable)
      for variable in variables
    ):
      raise ValueError(
        "`inner_optimizer` was built for the variables of another model: make "
        "a new optimizer for each model. Received: "
        f"inner_optimizer={self.inner_optimizer!r}"
      )

  # Hyperparameters and steps.

  def __getattr__(self, name):
    """Returns an attribute of the inner optimizer that this one has not."""
    if name.startswith("_") or "inner_optimizer" not in vars(self):
      raise AttributeError(
        f"'{type(self).__name__}' object has no attribute '{name}'"
      )
    if not hasattr(type(self), name) and not hasattr(
      self.inner_optimizer, name
    ):
      raise AttributeError(
        names.describe_missing_attribute(name, self.inner_optimizer)
      )
    return getattr(self.inner_optimizer, name)  # Or its own error.

  def __setattr__(self, name, value):
    """Assigns an attribute that this one has, or one of the inner optimizer.

    Raises:
      AttributeError: if neither has it, or if its value would be ignored.
    """
    if self._refuses_attributes and self._is_given_once(name):
      raise AttributeError(
        f"`{name}` can be read only; arguments are given once, when the "
        f"optimizer is made. Received: {name}={value!r}"
      )
    if (
      not self._refuses_attributes
      or name.startswith("_")
      or name in vars(self)
      or hasattr(type(self), name)
    ):
      super().__setattr__(name, value)
    elif hasattr(self.inner_optimizer, name):
      self._assign_to_inner_optimizer(name, value)
    else:
      raise AttributeError(
        names.describe_missing_attribute(name, self.inner_optimizer)
      )

  def _is_given_once(self, name):
    """Whether an assignment to an attribute of this one would be ignored."""
    known = getattr(type(self), name, None)
    has_no_setter = isinstance(known, property) and known.fset is None
    return name in ("inner_optimizer", "outer_optimizer") or has_no_setter

  def _assign_to_inner_optimizer(self, name, value):
    inner = self.inner_optimizer
    kind = type(inner).__name__
    if isinstance(inner, OptimizerWrapper):
      setattr(inner, name, value)
      return
    holds_others = hasattr(inner, "optimizers") or [*nesting.children(inner)]
    is_property = isinstance(getattr(type(inner), name, None), property)
    if holds_others and not is_property:
      raise AttributeError(
        f"`{name}` can be assigned to only on each optimizer in {kind}, which "
        f"does not pass it on. Received: {name}={value!r}"
      )
    if (
      name in _MAKE_VARIABLES
      and inner.built
      and value
      and not getattr(inner, name)
    ):
      raise AttributeError(
        f"`{name}` needs variables that {kind} makes when it is built, without "
        f"it: make a new optimizer with it. Received: {name}={value!r}"
      )
    setattr(inner, name, value)

  @property
  def learning_rate(self) -> Any:
    """The learning rate of the inner optimizer, to read and to assign."""
    return self.inner_optimizer.learning_rate

  @learning_rate.setter
  def learning_rate(self, value):
    self.inner_optimizer.learning_rate = value

  @property
  def iterations(self) -> Any:
    """The number of updates of the inner optimizer, an integer scalar."""
    return self.inner_optimizer.iterations

  def apply_gradients(self, grads_and_vars: Any) -> Any:
    """Calls `apply` with (gradient, variable) pairs; returns `iterations`."""
    super().apply_gradients(grads_and_vars)
    return self.iterations

  weight_decay = _passed_on("weight_decay", None)
  clipnorm = _passed_on("clipnorm", None)
  global_clipnorm = _passed_on("global_clipnorm", None)
  clipvalue = _passed_on("clipvalue", None)
  use_ema = _passed_on("use_ema", False)
  ema_momentum = _passed_on("ema_momentum", None)
  ema_overwrite_frequency = _passed_on("ema_overwrite_frequency", None)
  loss_scale_factor = _passed_on("loss_scale_factor", None)
  gradient_accumulation_steps = _passed_on("gradient_accumulation_steps", None)

  def scale_loss(self, loss: Any) -> Any:
    """Scales `loss` as the inner optimizer does."""
    return self.inner_optimizer.scale_loss(loss)

  def exclude_from_weight_decay(
    self,
    var_list: list[Any] | None = None,
    var_names: list[str] | None = None,
  ) -> None:
    """Excludes variables from the weight decay of the inner optimizer."""
    self.inner_optimizer.exclude_from_weight_decay(var_list, var_names)

  def finalize_variable_values(self, var_list: list[Any]) -> None:
    """Lets the inner optimizer set the final values (`use_ema`)."""
    self.inner_optimizer.finalize_variable_values(var_list)

  def add_scalar(self, name: str, value: Any, dtype: str) -> Any:
    """Adds a scalar variable that starts at `value`."""
    with self.own_scope.entered():
      return self.add_variable(
        shape=(),
        dtype=dtype,
        # keras.initializers.Constant makes a float32 of it on the way.
        initializer=lambda shape, dtype: ops.cast(np.asarray(value), dtype),
        name=name,
      )

  def add_beside(
    self, variable: Any, dtype: str, name: str, initial: Any = ops.copy
  ) -> Any:
    """Adds a variable of the shape, and at the place, of another one.

    Args:
      variable: The other one.
      dtype: The dtype of the new one.
      name: What comes after the path of `variable` in that of the new one.
      initial: Takes `variable` and returns the tensor to start at.
    """
    path = models.path_of(variable).replace("/", "_")
    with self.own_scope.entered(), self._place_beside(variable):
      return keras_internals.add_copy(
        self,
        variable,
        shape=variable.shape,
        dtype=dtype,
        initializer=lambda shape, dtype: ops.cast(initial(variable), dtype),
        name=f"{path}_{name}",
      )

  def _place_beside(self, variable):
    """Returns a context manager in which variables come beside another."""
    return backend.beside(variable)

  # Saving and loading.

  @property
  def own_variables(self) -> list[Any]:
    """Variables without those of the inner optimizer and of further parts."""
    return super().variables

  def _parts(self) -> list[keras.optimizers.Optimizer]:
    """Returns the optimizers whose variables are part of the state."""
    return [self.inner_optimizer]

  @property
  def variables(self) -> list[Any]:
    """Own variables, then those of the inner optimizer and of further parts."""
    return self.own_variables + [v for p in self._parts() for v in p.variables]

  def set_weights(self, weights: list[Any]) -> None:
    """Assigns `weights`, arrays in the order of `variables`.

    Raises:
      ValueError: if the optimizer is not built, or if their number or shapes
        are other than those of `variables`.
    """
    if not self.built:
      super().set_weights(weights)  # The error of Keras, which says so.
    if len(weights) != len(self.variables):
      raise ValueError(
        f"`weights` must hold {len(self.variables)} arrays, one for each of "
        f"the optimizer's variables. Received: {len(weights)}"
      )
    rest = list(weights)
    own, rest = rest[: len(self.own_variables)], rest[len(self.own_variables) :]
    super().set_weights(own)
    for part in self._parts():
      size = len(part.variables)
      part.set_weights(rest[:size])
      rest = rest[size:]

  def save_own_variables(self, store: Any) -> None:
    """Writes own variables. Keras saves the inner optimizer as a child."""
    for i, variable in enumerate(self.own_variables):
      store[str(i)] = ops.convert_to_numpy(variable)

  def load_own_variables(self, store: Any) -> None:
    """Reads own variables, as `save_own_variables` wrote them."""
    saved = [store[str(i)] for i in range(len(store.keys()))]
    if [np.shape(value) for value in saved] != [
      tuple(variable.shape) for variable in self.own_variables
    ]:
      warnings.warn(
        f"The state of optimizer '{self.name}' was not loaded: it has "
        f"{len(self.own_variables)} variables, but {len(saved)} were saved, or "
        "some of other shapes. Was the optimizer built with other arguments, "
        "or were weights saved without it? Its next update starts a period "
        "from the weights that the model then has.",
        stacklevel=2,
      )
      return
    for variable, value in zip(self.own_variables, saved):
      variable.assign(value)

  def get_config(self) -> dict[str, Any]:
    """Returns the arguments, with the inner optimizer serialized."""
    return {
      "inner_optimizer": keras.optimizers.serialize(self.inner_optimizer),
      "name": self.name,
    }

  @classmethod
  def from_config(
    cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
  ) -> "OptimizerWrapper":
    """Creates an optimizer from what `get_config` returned.

    Args:
      config: Left unchanged.
      custom_objects: Classes by name, for an inner optimizer of one's own.
    """
    config = copy.deepcopy(config)
    inner = config.get("inner_optimizer")
    if isinstance(inner, dict):
      config["inner_optimizer"] = keras.saving.deserialize_keras_object(
        inner, custom_objects=custom_objects
      )
    return cls(**config)


class _Scope:
  """Keeps the paths of an optimizer's variables apart from those inside it.

  OrbaxCheckpoint saves a model by paths, which begin with the name of the
  optimizer: two of one name, as they are in files of 0.1.0, would clash.

  Args:
    inner_optimizer: The inner optimizer.
    name: Name of the optimizer, None if Keras is to make one.
  """

  def __init__(
    self, inner_optimizer: keras.optimizers.Optimizer, name: str | None
  ):
    inside = [inner_optimizer, *nesting.descendants(inner_optimizer)]
    self._namesakes = sum(each.name == name for each in inside)

  def entered(self) -> contextlib.AbstractContextManager:
    """Returns a context manager in which to add variables."""
    if self._namesakes == 0:
      return contextlib.nullcontext()
    return keras.name_scope(f"outer_{self._namesakes}")


def _inner_learning_rate():
  """Never called: `learning_rate` is that of the inner optimizer."""
