"""The language model's steps as a TPUStrategy takes them: not executed."""

import unittest

import tensorflow as tf
from absl.testing import parameterized

from tests.tpu_strategy import described_host, traced_step
from tests.tpu_strategy.language_step import (
  LAYERS,
  trace_evaluation,
  trace_training,
)

_STATES = 2 * LAYERS  # h and c of each layer.
_CASES = (
  {"optimizer": "sgd"},
  {"optimizer": "sgd", "with_lookahead": True},
  {"optimizer": "adam", "with_lookahead": True, "precision": "bfloat16"},
  {"optimizer": "nt_asgd"},
)


@unittest.skipUnless(
  described_host.is_tpu_build(),
  "this TensorFlow is not built for TPUs: see requirements-tpu.txt",
)
class LanguageStepTest(traced_step.StepTestCase, parameterized.TestCase):
  @parameterized.parameters(*_CASES)
  def test_gradients_and_carried_states_are_summed(self, **case):
    step = trace_training(**case)
    gradients = len(step.model.trainable_variables)
    # A limit of the gradient is for the sum over the cores, and `apply` sums
    # what it is given. Only nt_asgd has no limit here.
    times = 1 if case["optimizer"] == "nt_asgd" else 2
    self.assertEqual(step.count("CrossReplicaSum"), times * gradients + _STATES)
    self.assertEqual(step.count("TPUReplicateMetadata"), 1)

  def test_lookahead_adds_no_collective(self):
    bare, step = trace_training("sgd"), trace_training("sgd", True)
    self.assertEqual(step.collectives(), bare.collectives())
    self.assertLen(step.optimizer.slow_weights, len(step.model.variables))

  @parameterized.parameters(*_CASES)
  def test_training(self, **case):
    step = trace_training(**case)
    self.assertLacksWhatTpusLack(step)
    self.assertEveryOperationHasAKernel(step)

  @parameterized.parameters("float32", "bfloat16")
  def test_evaluation(self, precision):
    step = trace_evaluation(precision=precision)
    self.assertEqual(step.count("CrossReplicaSum"), _STATES)
    self.assertLacksWhatTpusLack(step)
    self.assertEveryOperationHasAKernel(step)


if __name__ == "__main__":
  tf.test.main()
