import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from tests import replicas
from trainers import evaluation

# Two batches of four for each replica in turn; the last two only fill up.
_LOSSES = np.array([3, 1, 4, 1, 5, 9, 100, 100], "float32")
_CORRECT = np.array([1, 0, 0, 1, 1, 1, 1, 1], "float32")
_WEIGHTS = np.array([1, 1, 1, 1, 1, 1, 0, 0], "float32")


class EvaluationTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.parameters(1, 2)
  def test_means_over_what_has_a_weight(self, count):
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    if count == 2:
      strategy = replicas.mirrored()
    examples = tf.data.Dataset.from_tensor_slices(
      {"loss": _LOSSES, "correct": _CORRECT, "weight": _WEIGHTS}
    )
    batches = strategy.distribute_datasets_from_function(
      lambda context: examples.batch(4 // count)
    )
    means = evaluation.make_means(
      lambda batch: (batch["loss"], batch["correct"], batch["weight"]),
      batches,
      strategy,
      jit_compile=False,
    )
    for _ in range(2):
      self.assertAllClose(means(), {"loss": 23 / 6, "accuracy": 4 / 6})


if __name__ == "__main__":
  tf.test.main()
