"""What a TPUStrategy of described hosts puts on one core."""

import collections
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from tests.tpu_strategy import described_host, tpu_kernels

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


class NoOptimizer:
  """Takes the place of an optimizer in a step without an update."""

  def scale_loss(self, loss: tf.Tensor) -> tf.Tensor:
    """Returns the loss as it is."""
    return loss

  def apply(self, gradients: list[Any], variables: list[Any]) -> None:
    """Does nothing."""


def trace(
  make: Callable[
    [tf.distribute.Strategy],
    tuple[
      keras.Model,
      keras.optimizers.Optimizer | None,
      Callable[[Any], Any],
      Any,
    ],
  ],
  *,
  hosts: int = 1,
  policy: str = "float32",
) -> TracedStep:
  """Traces a step under a TPUStrategy.

  Args:
    make: Returns a model, its optimizer or None, one replica's step, and specs
      of that replica's batch, given the strategy.
    hosts: Hosts of 8 cores.
    policy: Keras' dtype policy for the layers.
  """
  before = keras.config.dtype_policy()
  with tf.Graph().as_default() as graph:
    strategy = tf.distribute.TPUStrategy(described_host.DescribedHosts(hosts))
    keras.config.set_dtype_policy(policy)
    try:
      model, optimizer, step, specs = make(strategy)
      batch = tf.nest.map_structure(
        lambda spec: tf.zeros(spec.shape, spec.dtype), specs
      )
      strategy.run(step, args=(batch,))
    finally:
      keras.config.set_dtype_policy(before)
  return TracedStep(
    model=model,
    optimizer=optimizer,
    cores=strategy.num_replicas_in_sync,
    operations=tuple(_on_the_core(graph)),
  )


class StepTestCase(tf.test.TestCase):
  """Assertions on what a core is given."""

  def assertNone(self, found: list[Any], kind: str) -> None:
    """Asserts that nothing of a kind was found."""
    self.assertEmpty(found, f"{kind}: {found[:5]}")

  def assertLacksWhatTpusLack(self, step: TracedStep) -> None:
    """Asserts that no tensor is of a type or shape that TPUs do not have."""
    tensors = list(step.tensors())
    self.assertNone([t for t in tensors if t.dtype == tf.string], "strings")
    self.assertNone(
      [
        t
        for t in tensors
        if t.dtype != tf.resource and not t.shape.is_fully_defined()
      ],
      "shapes that are known at run time only",
    )
    # Counters, which are int64 in Keras and in Lookahead; and the inner
    # optimizer's `iterations`, which Keras has the first core send to all.
    self.assertNone(
      [
        t
        for t in tensors
        if t.dtype == tf.int64
        and t.shape.rank != 0
        and "AllToAll" not in [t.op.type, *(op.type for op in t.consumers())]
      ],
      "int64, which a TPU computes in two halves",
    )

  def assertEveryOperationHasAKernel(self, step: TracedStep) -> None:
    """Asserts that TensorFlow's compiler can put each operation on a TPU."""
    missing = {
      (operation.type, operation.node_def.attr["T"].type)
      for operation in step.operations
      if not tpu_kernels.has_kernel(operation)
    }
    self.assertEmpty(missing)


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
