"""For users of `tfa.optimizers.Lookahead`, of TensorFlow Addons."""

import itertools
import re
from typing import Any

import keras
import numpy as np
from keras import ops, optimizers

from lookahead_tf import installation, keras_internals
from lookahead_tf.evaluation import find_lookaheads
from lookahead_tf.lookahead import Lookahead
from lookahead_tf.radam import RAdam

# Parts of the keys of a checkpoint.
_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
_SLOT = "/.OPTIMIZER_SLOT/"
_INNER = "lh_base_optimizer"
_OF_RECTIFIED_ADAM = f"{_INNER}/sma_threshold"


def lookahead_from_tfa(
  optimizer: keras.optimizers.Optimizer | str | dict[str, Any],
  sync_period: int = 6,
  slow_step_size: float = 0.5,
  name: str = "Lookahead",
  clipnorm: float | None = None,
  clipvalue: float | None = None,
  global_clipnorm: float | None = None,
) -> Lookahead:
  """Makes a Lookahead from the arguments of `tfa.optimizers.Lookahead`.

  They have the names and the defaults that they had there (a period of 6). The
  config that `tfa.optimizers.Lookahead.get_config` returned, which a saved
  model contains, works too: `lookahead_from_tfa(**config)`.

  Args:
    optimizer: A Keras optimizer, its name, or the config of a legacy one or of
      a `tfa.optimizers.RectifiedAdam`, which becomes an RAdam.
    sync_period: Updates in a period.
    slow_step_size: Step size of the slow weights.
    name: Name of the optimizer.
    clipnorm: Becomes that of the inner optimizer, as do the next two.
      TensorFlow Addons clipped before it called the inner optimizer, and
      ignored what that one said of clipping.
    clipvalue: See `clipnorm`.
    global_clipnorm: See `clipnorm`.

  Raises:
    TypeError: if an argument is of a wrong type.
    ValueError: if the value of an argument is out of its range.
  """
  if isinstance(optimizer, dict):
    optimizer = _from_legacy_config(optimizer)
  lookahead = Lookahead(optimizer, sync_period, slow_step_size, name=name)
  inner = lookahead.inner_optimizer
  inner.clipnorm, inner.clipvalue = clipnorm, clipvalue
  inner.global_clipnorm = global_clipnorm
  return lookahead


def _from_legacy_config(serialized):
  """Returns the Keras 3 optimizer that a legacy one was serialized to."""
  config = dict(serialized["config"])
  decay = config.pop("decay", 0.0)
  if decay:
    config["learning_rate"] = optimizers.schedules.InverseTimeDecay(
      config["learning_rate"], 1, decay
    )
  elif isinstance(config.get("learning_rate"), dict):
    config["learning_rate"] = optimizers.schedules.deserialize(
      config["learning_rate"]
    )
  # In the older of two formats the name begins with "Addons>".
  class_name = serialized["class_name"].removeprefix("Addons>")
  if class_name == "RectifiedAdam":
    return _from_rectified_adam(config)
  if class_name not in keras_internals.LEGACY_OPTIMIZERS:
    kinds = sorted({*keras_internals.LEGACY_OPTIMIZERS, "RectifiedAdam"})
    raise ValueError(
      f"`optimizer` must be the config of one of {kinds}; for others, "
      f"give a Keras 3 optimizer. Received: class_name={class_name!r}"
    )
  return getattr(optimizers, class_name)(**config)


def _from_rectified_adam(config):
  """Returns the RAdam of a config of `tfa.optimizers.RectifiedAdam`."""
  weight_decay = config.pop("weight_decay", 0.0)
  if isinstance(weight_decay, dict):
    raise ValueError(
      "`weight_decay` of a RectifiedAdam must be a float: optimizers of Keras "
      "3 have no schedule of it. Received in the config of `optimizer`: "
      f"weight_decay={weight_decay!r}"
    )
  warmup = {
    "total_steps": config.pop("total_steps", 0),
    "warmup_proportion": config.pop("warmup_proportion", 0.1),
    "min_lr": config.pop("min_lr", 0.0),
  }
  if warmup["total_steps"] > 0:
    rate = config.get("learning_rate", 0.001)
    config["learning_rate"] = WarmupThenDecay(rate, **warmup)
  return RAdam(weight_decay=weight_decay or None, **config)


@keras.saving.register_keras_serializable(package="lookahead_tf")
class WarmupThenDecay(optimizers.schedules.LearningRateSchedule):
  """The learning rate of a RectifiedAdam that was made with `total_steps`.

  It grows from 0 to `learning_rate` in the first steps, then falls to `min_lr`,
  both linearly, and stays there.

  Args:
    learning_rate: Float, or a schedule, which goes on meanwhile.
    total_steps: Integer of at least 1, the steps of both together.
    warmup_proportion: Float in [0, 1], the part of them in which it grows.
    min_lr: Float, the learning rate at the end.
  """

  def __init__(
    self,
    learning_rate: Any,
    total_steps: int,
    warmup_proportion: float,
    min_lr: float,
  ):
    if isinstance(learning_rate, dict):
      learning_rate = optimizers.schedules.deserialize(learning_rate)
    self.learning_rate, self.min_lr = learning_rate, min_lr
    self.total_steps = total_steps
    self.warmup_proportion = warmup_proportion

  def __call__(self, step: Any) -> Any:
    """Returns the learning rate of the update after `step` others."""
    rate = self.learning_rate
    rate = rate(step) if callable(rate) else rate
    t = ops.cast(step, "float32") + 1.0
    warmup = self.total_steps * self.warmup_proportion
    decay = max(self.total_steps - warmup, 1.0)
    part = ops.clip((t - warmup) / decay, 0.0, 1.0)
    falling = rate + (self.min_lr - rate) * part
    # Where nothing grows, t is beyond the warmup at once.
    return ops.where(t <= warmup, rate * t / max(warmup, 1.0), falling)

  def get_config(self) -> dict[str, Any]:
    """Returns the arguments."""
    rate = self.learning_rate
    if callable(rate):
      rate = optimizers.schedules.serialize(rate)
    return {
      "learning_rate": rate,
      "total_steps": self.total_steps,
      "warmup_proportion": self.warmup_proportion,
      "min_lr": self.min_lr,
    }


def load_tfa_checkpoint(
  path: str,
  model: keras.Model,
  optimizer: keras.optimizers.Optimizer | None = None,
) -> dict[str, float]:
  """Loads a checkpoint that was written with TensorFlow Addons' Lookahead.

  Weights, slow weights, slots of the inner optimizer, step count and, unless it
  is a schedule, learning rate: training goes on as it would have there. Nothing
  is loaded unless everything fits. Checkpoints do not say what `sync_period`,
  `slow_step_size`, `epsilon`, `amsgrad`, `nesterov` and `centered` were: give
  the optimizer the same. docs/migration.md lists what differs.

  Args:
    path: Prefix of the files that `tf.train.Checkpoint(...).save` wrote, or
      `model.save_weights` in the format of TensorFlow.
    model: The same model in Keras 3, built.
    optimizer: What trains it, a Lookahead around an optimizer of the same kind;
      `model.optimizer` if None.

  Returns:
    The hyperparameters of the inner optimizer that the checkpoint holds, by
    name, to compare.

  Raises:
    ValueError: if not one Lookahead trains the model, if the checkpoint has
      none in it, or if it does not fit the model or its optimizer, also if it
      was written with a schedule and the optimizer has none.
  """
  lookahead, *others = find_lookaheads(
    model, optimizer, caller="load_tfa_checkpoint"
  )
  if others:
    raise ValueError(
      "load_tfa_checkpoint needs a model that one Lookahead trains: say which "
      f"by `optimizer`. Received: {len(others) + 1} of them"
    )
  lookahead.build(model.trainable_variables)
  inner = lookahead.inner_optimizer
  values = _read(path)
  try:
    key = next(k for k in values if _SLOT in k and k.endswith("/slow"))
  except StopIteration:
    raise ValueError(
      "`path` must be that of a checkpoint with the state of a "
      f"tfa.optimizers.Lookahead. Received: path={path!r} without slow weights"
    ) from None
  owner = key.partition(_SLOT)[2].removesuffix("/slow")
  _check_kind(inner, f"{owner}/{_OF_RECTIFIED_ADAM}" in values)
  lists = {f"{owner}/slow": lookahead.slow_weights}
  for slot, variables in _slots_of(inner).items():
    lists[f"{owner}/{_INNER}/{slot}"] = variables

  assignments = _assignments(values, model, lookahead, lists, owner)
  prefix = f"{owner}/{_INNER}/"
  hyperparameters = {
    key.removeprefix(prefix): float(value)
    for key, value in values.items()
    if key.startswith(prefix) and np.ndim(value) == 0
  }
  has_own_rate = isinstance(inner.learning_rate, keras.Variable)
  had_schedule = (
    "learning_rate" not in hyperparameters
    or hyperparameters.get("total_steps", 0) > 0
  )
  if has_own_rate and had_schedule:
    raise ValueError(
      "The learning rate in the checkpoint followed a schedule, or the warmup "
      "of a RectifiedAdam with `total_steps`: make the optimizer with the same "
      "schedule. Received: an inner optimizer with learning_rate="
      f"{float(ops.convert_to_numpy(inner.learning_rate)):g}"
    )
  for variable, value in assignments:
    variable.assign(value)
  updates = int(values[f"{owner}/iter"])
  keras_internals.counter(inner).assign(updates)
  lookahead.set_updates(updates)
  if has_own_rate:
    inner.learning_rate = hyperparameters["learning_rate"]
  return hyperparameters


def _check_kind(inner, is_of_rectified_adam):
  """Raises a ValueError if moments of RAdam are to be loaded into Adam."""
  if isinstance(inner, RAdam) != is_of_rectified_adam:
    theirs = "a RectifiedAdam" if is_of_rectified_adam else "no RectifiedAdam"
    ours = "an RAdam" if is_of_rectified_adam else "the kind that was there"
    raise ValueError(
      f"The checkpoint is of {theirs}: the inner optimizer must be {ours}. "
      f"Received: inner_optimizer={inner!r}"
    )


def _assignments(values, model, lookahead, lists, owner):
  """Returns all (variable, value) pairs; raises if they do not fit."""
  assignments = []
  for key, value in values.items():
    weight, _, slot = key.partition(_SLOT)
    if re.match(f"({owner}|save_counter|keras_api)(/|$)", weight):
      continue  # Hyperparameters, counts and metrics.
    variable = _find_variable(model, weight)
    if variable is not None and slot:
      index = keras_internals.index_of(lookahead, variable)
      variable = dict(enumerate(lists.get(slot, []))).get(index)
    if variable is None:
      kind = type(lookahead.inner_optimizer).__name__
      raise ValueError(
        f"The checkpoint holds {key!r}, for which there is no place in the "
        f"model or its inner_optimizer={kind}."
      )
    if tuple(variable.shape) != np.shape(value):
      raise ValueError(
        f"{key!r} has the shape {np.shape(value)} in the checkpoint, and "
        f"{tuple(variable.shape)} in the model."
      )
    assignments.append((variable, value))
  found = {id(variable) for variable, _ in assignments}
  for variable in itertools.chain(model.weights, *lists.values()):
    if variable is not None and id(variable) not in found:
      raise ValueError(f"The checkpoint has no value for {variable.path!r}.")
  return assignments


def _read(path):
  """Returns the values in a checkpoint by key, in order."""
  tf = installation.import_tensorflow("load_tfa_checkpoint")
  reader = tf.train.load_checkpoint(path)
  return {
    key.removesuffix(_VALUE): reader.get_tensor(key)
    for key in sorted(reader.get_variable_to_shape_map())
    if key.endswith(_VALUE)
  }


def _slots_of(inner):
  slots = keras_internals.legacy_slots(inner)
  if slots is not None:
    return slots
  kinds = sorted(keras_internals.LEGACY_OPTIMIZERS)
  raise ValueError(
    f"The inner optimizer must be one of {kinds}, whose slots mean what they "
    f"meant in TensorFlow Addons. Received: inner_optimizer={inner!r}"
  )


def _find_variable(model, path):
  """Returns the variable at `path` in the object graph of Keras 2, or None.

  A first part that the model does not have is its name in the checkpoint.
  """
  node, parts = model, path.split("/")
  for i, part in enumerate(parts):
    child = _find_child(node, part)
    if child is None:
      is_name = i == 0 and len(parts) > 1
      return _find_variable(model, "/".join(parts[1:])) if is_name else None
    node = child
  return node if isinstance(node, keras.Variable) else None


def _find_child(node, part):
  if match := re.fullmatch(r"layer_with_weights-(\d+)", part):
    node, part = [x for x in node.layers if x.weights], match[1]
  if part.isdigit() and isinstance(node, (list, tuple)):
    return dict(enumerate(node)).get(int(part))
  return getattr(node, part, None)
