"""The image trainer's step as a TPUStrategy takes it: not executed."""

import collections
import unittest

import tensorflow as tf
from absl.testing import parameterized

from tests.tpu_strategy import described_host, traced_step
from tests.tpu_strategy.image_step import trace

_CASES = (
  {"inner": "sgd", "hosts": 1, "policy": "float32"},
  {"inner": "sgd", "hosts": 4, "policy": "float32"},
  {"inner": "adam", "hosts": 1, "policy": "float32"},
  {"inner": "adam", "hosts": 1, "policy": "mixed_bfloat16"},
)


@unittest.skipUnless(
  described_host.is_tpu_build(),
  "this TensorFlow is not built for TPUs: see requirements-tpu.txt",
)
class ImageStepTest(traced_step.StepTestCase, parameterized.TestCase):
  @parameterized.parameters(*_CASES)
  def test_one_program_for_all_cores(self, **case):
    step = trace(**case, lookahead="fixed")
    self.assertEqual(step.cores, 8 * case["hosts"])
    self.assertEqual(step.count("TPUReplicateMetadata"), 1)
    for variable in step.model.variables:
      self.assertLen({v.device for v in variable.value.values}, step.cores)

  @parameterized.parameters(*_CASES)
  def test_one_all_reduce_for_each_gradient(self, **case):
    bare, no_update = trace(**case), trace(**case | {"inner": None})
    sums = bare.count("CrossReplicaSum")
    of_batch_norm = no_update.count("CrossReplicaSum")
    self.assertLen(bare.model.trainable_variables, sums - of_batch_norm)
    norms = [v for v in bare.model.variables if v.name == "moving_mean"]
    # The sum, that of squares and the count; and the gradients of two of them.
    self.assertLen(norms * 5, of_batch_norm)

  @parameterized.parameters(*_CASES)
  def test_lookahead_adds_no_collective(self, **case):
    bare, step = trace(**case), trace(**case, lookahead="fixed")
    self.assertEqual(step.collectives(), bare.collectives())

  @parameterized.parameters(*_CASES)
  def test_local_steps_meet_in_a_loop_alone(self, **case):
    """Once where a period starts anew, and once where one ends."""
    step = trace(**case, lookahead="local")
    sums = collections.defaultdict(list)
    for operation in step.operations:
      if operation.type == "CrossReplicaSum":
        sums[operation.graph].append(operation.outputs[0].shape.as_list())
    weights = [[*v.shape] for v in step.model.trainable_variables]
    # That of a scalar is of the distance between replicas.
    self.assertCountEqual(
      map(sorted, sums.values()), map(sorted, [weights, [*weights, []]])
    )
    for graph in sums:
      self.assertRegex(graph.name, "while.*body")
    self.assertEqual(
      step.collectives(),
      dict.fromkeys(step.collectives(), 0)
      | {"CrossReplicaSum": 2 * len(weights) + 1},
    )

  def test_an_adaptive_step_size_adds_one_scalar(self):
    bare, step = trace("adam"), trace("adam", "adaptive")
    scalars = [
      [op for op in s.operations if _is_scalar_sum(op)] for s in (bare, step)
    ]
    self.assertLen(scalars[1], len(scalars[0]) + 1)
    self.assertEqual(
      step.count("CrossReplicaSum"), bare.count("CrossReplicaSum") + 1
    )

  @parameterized.parameters(*_CASES)
  def test_slow_weights_are_where_the_weights_are(self, **case):
    step = trace(**case, lookahead="fixed")
    self.assertNotEmpty(step.optimizer.slow_weights)
    for fast, slow in zip(
      step.model.trainable_variables, step.optimizer.slow_weights
    ):
      self.assertEqual(_described(slow.value), _described(fast.value))

  def test_the_synchronization_is_one_loop(self):
    loops = ("While", "StatelessWhile", "If", "StatelessIf")
    added = trace("sgd", "fixed").kinds() - trace("sgd").kinds()
    # The start of the first period, and the end of each.
    self.assertEqual({k: added[k] for k in loops if added[k]}, {"While": 2})

  @parameterized.parameters(
    *({**case, "lookahead": "fixed"} for case in _CASES),
    {"inner": "adam", "lookahead": "adaptive"},
  )
  def test_what_tpus_lack_is_absent(self, **case):
    self.assertLacksWhatTpusLack(trace(**case))

  @parameterized.parameters(
    *({**case, "lookahead": "fixed"} for case in _CASES),
    {"inner": "adam", "lookahead": "adaptive"},
    {"inner": "adam", "lookahead": "local"},
  )
  def test_every_operation_has_a_tpu_kernel(self, **case):
    self.assertEveryOperationHasAKernel(trace(**case))

  def test_bfloat16_computes_in_it_but_stores_float32(self):
    step = trace("adam", "fixed", policy="mixed_bfloat16")
    convolutions = [op for op in step.operations if op.type == "Conv2D"]
    self.assertNotEmpty(convolutions)
    for operation in convolutions:
      self.assertEqual(operation.outputs[0].dtype, tf.bfloat16)
    for variable in step.model.variables + step.optimizer.variables:
      self.assertIn(variable.dtype, ("float32", "int64"))


def _is_scalar_sum(operation):
  return (
    operation.type == "CrossReplicaSum" and operation.outputs[0].shape.rank == 0
  )


def _described(variable):
  """Returns all that says how a distributed variable is kept."""
  return (
    type(variable),
    type(variable._policy),
    variable.aggregation,
    variable.synchronization,
    variable.dtype,
    variable.shape,
    [part.device for part in variable.values],
  )


if __name__ == "__main__":
  tf.test.main()
