"""The image trainer's step, traced under a TPUStrategy of described hosts."""

import collections
import dataclasses
import functools
from collections.abc import Iterator

import keras
import tensorflow as tf
from ml_collections import config_dict

from configs import digits
from lookahead_tf import AdaptiveStepSize
from tests.tpu_strategy import described_host
from trainers.image_classification import experiment as experiment_lib
from trainers.image_classification import sources
from trainers.image_classification import step as step_lib

INNER = {
  "sgd": {"momentum": 0.9},
  "adam": {},
}
REPLICA_BATCH = 2
COLLECTIVES = (
  "AllToAll",
  "CollectivePermute",
  "CrossReplicaSum",
  "XlaAllReduce",
  "XlaReduceScatter",
)


@dataclasses.dataclass(frozen=True)
class TracedStep:
  """A model, its optimizer, and what one core does in a training step.

  Attributes:
    model: Built in the strategy's scope.
    optimizer: Likewise; None for a step that leaves the weights as they are.
    cores: Number of replicas.
    operations: Those of one core, also in functions, loops and conditionals.
  """

  model: keras.Model
  optimizer: keras.optimizers.Optimizer | None
  cores: int
  operations: tuple[tf.Operation, ...]

  def kinds(self) -> collections.Counter:
    """Returns how many operations there are of each type."""
    return collections.Counter(op.type for op in self.operations)

  def count(self, kind: str) -> int:
    """Returns the number of operations of that type."""
    return self.kinds()[kind]

  def collectives(self) -> dict[str, int]:
    """Returns how many operations there are by which cores meet."""
    return {kind: self.count(kind) for kind in COLLECTIVES}

  def tensors(self) -> Iterator[tf.Tensor]:
    """Yields what the operations take and give.

    Without parameters of functions that are not used in them, whose shape
    TensorFlow forgets: the condition of a loop takes what its body takes.
    """
    for operation in self.operations:
      yield from operation.inputs
      if operation.type != "Placeholder":
        yield from operation.outputs


class _NoOptimizer:
  """Takes the place of an optimizer in a step without an update."""

  def scale_loss(self, loss):
    return loss

  def apply(self, gradients, variables):
    pass


@functools.cache
def trace(
  inner: str | None,
  lookahead: str | None = None,
  *,
  hosts: int = 1,
  policy: str = "float32",
) -> TracedStep:
  """Traces the step of the digits' CNN with its synchronized batch norm.

  Args:
    inner: A key of INNER, or None for the gradients alone, without update.
    lookahead: "fixed" or "adaptive" for Lookahead of that step size, or None.
    hosts: Hosts of 8 cores.
    policy: Keras' dtype policy for the layers.
  """
  config = _config(inner, lookahead, hosts)
  source = sources.load(config.data.name)
  before = keras.config.dtype_policy()
  with tf.Graph().as_default() as graph:
    strategy = tf.distribute.TPUStrategy(described_host.DescribedHosts(hosts))
    keras.config.set_dtype_policy(policy)
    try:
      experiment = experiment_lib.unpack(config, source, strategy)
      model = experiment_lib.make_model_and_slots(experiment, strategy)
      step = step_lib.make_train_step(
        model,
        experiment.optimizer if inner else _NoOptimizer(),
        experiment.objective,
        experiment.clipping,
        replicas=strategy.num_replicas_in_sync,
        jit_compile=experiment.jit_compile,
      )
      size = config.data.image_size
      strategy.run(
        step,
        args=(
          (
            tf.zeros((REPLICA_BATCH, size, size, source.channels), tf.uint8),
            tf.zeros((REPLICA_BATCH,), tf.int32),
          ),
        ),
      )
    finally:
      keras.config.set_dtype_policy(before)
  return TracedStep(
    model=model,
    optimizer=experiment.optimizer if inner else None,
    cores=strategy.num_replicas_in_sync,
    operations=tuple(_on_the_core(graph)),
  )


def _config(inner, lookahead, hosts):
  config = digits.get_config("lookahead")
  config.model.width = 4
  cores = hosts * described_host.CORES_PER_HOST
  config.global_batch_size = REPLICA_BATCH * cores
  config.optimizer.name = inner or "sgd"
  config.optimizer.arguments = config_dict.create(**INNER[inner or "sgd"])
  if lookahead is None:
    config.lookahead = None
  elif lookahead == "adaptive":
    with config.ignore_type():
      config.lookahead.slow_step_size = keras.saving.serialize_keras_object(
        AdaptiveStepSize()
      )
  return config


def _on_the_core(graph):
  """Yields what `strategy.run` has put on one core, and what that calls."""
  for operation in graph.get_operations():
    if "_tpu_replicate" in operation.node_def.attr:
      yield operation
      yield from _called_by(operation, graph)


def _called_by(operation, graph):
  """Yields the operations in the functions that are attributes of one."""
  for attribute in operation.node_def.attr.values():
    names = [attribute.func.name] if attribute.HasField("func") else []
    names.extend(function.name for function in attribute.list.func)
    for name in names:
      for inner in graph._get_function(name).graph.get_operations():
        yield inner
        yield from _called_by(inner, graph)
