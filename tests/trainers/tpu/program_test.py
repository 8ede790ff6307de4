import collections
import json
import re

import numpy as np
import tensorflow as tf

from tests.trainers.tpu import small_step
from trainers.tpu import program


class ProgramTest(tf.test.TestCase):
  def test_gradients_and_statistics_meet_in_groups_of_all_replicas(self):
    strategy = program.CompiledReplicas(4)
    self.assertEqual(strategy.num_replicas_in_sync, 4)
    step, specs = small_step.maker()(strategy)
    text = program.stablehlo(step, specs, strategy)
    # Batch normalization sums values, squares and counts; of the first two
    # there are gradients, which are sums over the replicas as well.
    reductions = small_step.TENSORS + 3 + 2
    self.assertEqual(text.count("stablehlo.all_reduce"), reductions)
    self.assertIn("[[0, 1, 2, 3]]", text)
    self.assertNotIn("mhlo.copy", text)

  def test_a_step_that_does_not_synchronize_skips_it(self):
    """On TPUs too: a selection, as on CPUs, would read all slow weights."""
    strategy = program.CompiledReplicas(4)
    text = {}
    for lookahead in (False, True):
      step, specs = small_step.maker(lookahead)(strategy)
      text[lookahead] = program.stablehlo(step, specs, strategy)
    self.assertNotIn("stablehlo.while", text[False])
    self.assertEqual(text[True].count("stablehlo.while"), 2)

  def test_local_steps_reduce_within_loops_alone(self):
    strategy = program.CompiledReplicas(4)
    step, specs = small_step.maker(local_steps=True)(strategy)
    text = program.stablehlo(step, specs, strategy)
    _, main = text.split("func.func @main")
    found = re.findall(r'^( +)%\d+ = "stablehlo.all_reduce"', main, re.M)
    of_batch_norm = 3 + 2
    # What is in a loop is indented. The first has the weights of one replica,
    # where a period starts anew; the second, where one ends, the means and the
    # distance between the replicas.
    in_loops = small_step.TENSORS + small_step.TENSORS + 1
    self.assertEqual(
      collections.Counter(map(len, found)), {4: of_batch_norm, 6: in_loops}
    )

  def test_mean_over_replicas(self):
    strategy = program.CompiledReplicas(4)

    def step(values):
      context = tf.distribute.get_replica_context()
      return context.all_reduce(tf.distribute.ReduceOp.MEAN, values)

    text = program.stablehlo(step, tf.TensorSpec((3,), tf.float32), strategy)
    self.assertIn("stablehlo.all_reduce", text)
    self.assertIn("4.0", text)

  def test_sparse_gradients_meet_as_dense_ones(self):
    strategy = program.CompiledReplicas(4)

    def step(rows):
      context = tf.distribute.get_replica_context()
      gradient = tf.IndexedSlices(rows, tf.constant([0, 2]), (50, 3))
      return context.all_reduce(tf.distribute.ReduceOp.SUM, gradient)

    text = program.stablehlo(step, tf.TensorSpec((2, 3), tf.float32), strategy)
    self.assertRegex(text, r"(?s)stablehlo\.all_reduce.*tensor<50x3xf32>")

  def test_constant_booleans_are_written_out(self):
    mask = np.random.default_rng(0).integers(0, 2, (11, 13)).astype(bool)

    def step(values):
      return tf.where(mask, values, 0.0)

    text = program.stablehlo(
      step,
      tf.TensorSpec((11, 13), tf.float32),
      program.CompiledReplicas(2),
    )
    self.assertIn(
      f"dense<{json.dumps(mask.tolist())}> : tensor<11x13xi1>", text
    )
    self.assertNotIn('dense<"', text)


if __name__ == "__main__":
  tf.test.main()
