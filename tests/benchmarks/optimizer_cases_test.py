import math

import tensorflow as tf
from absl.testing import parameterized

from benchmarks import optimizer_cases
from tests.lookahead_tf import algorithm1


class OptimizerStepsTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.product(
    mode=list(optimizer_cases.MODES), sync_period=[None, 2]
  )
  def test_runs_the_steps_it_times(self, mode, sync_period):
    # Parameters start at the gradients g, which do not change: all that follows
    # is a multiple of g.
    gradients = optimizer_cases.make_gradients(optimizer_cases.tiny_shapes())
    steps = optimizer_cases.OptimizerSteps(gradients, "sgd", mode, sync_period)
    self.assertGreater(steps.run(4), 0)
    # Without Lookahead: no period ends.
    (fast,), _ = algorithm1.lookahead(
      algorithm1.Sgd(0.01, momentum=0.9),
      lambda weights, i: [1.0],
      [1.0],
      4,
      k=sync_period or 5,
      alpha=0.5,
    )
    for parameter, gradient in zip(steps.parameters, gradients):
      self.assertAllClose(parameter, fast * gradient, rtol=1e-5)

  @parameterized.parameters("sgd", "adam")
  def test_state_is_one_copy_of_the_parameters_more(self, inner):
    shapes = optimizer_cases.tiny_shapes()
    gradients = optimizer_cases.make_gradients(shapes)
    bare, lookahead = (
      optimizer_cases.OptimizerSteps(
        gradients, inner, "graph", period
      ).state_bytes()
      for period in (None, 5)
    )
    parameters = 4 * optimizer_cases.count_parameters(shapes)
    self.assertBetween(bare / parameters, {"sgd": 1, "adam": 2}[inner], 2.1)
    # And a few scalars.
    self.assertBetween(lookahead - bare, parameters, parameters + 64)


class MeasureMemoryTest(tf.test.TestCase):
  def test_state_and_peak(self):
    memory = optimizer_cases.measure_memory("tiny", "sgd", "graph", 5)
    parameters = 4 * (64 * 32 + 32 + 32 * 10 + 10)
    # Momentum and slow weights, and a few scalars.
    self.assertBetween(
      memory["state_bytes"], 2 * parameters, 2 * parameters + 64
    )
    self.assertGreater(memory["peak_bytes"], 2**27)  # TensorFlow is in it.
    small = optimizer_cases.measure_memory(
      "tiny", "sgd", "graph", 5, one_element=True
    )
    # As many parameters, four, of one element each.
    self.assertBetween(small["state_bytes"], 4 * 8, 4 * 8 + 64)


class TrafficBoundTest(tf.test.TestCase):
  def test_by_hand(self):
    for inner, k, way, expected in (
      ("sgd", 5, "separate pass", 1.16),
      ("sgd", 5, "fused pass", 1.08),
      ("sgd", 10, "separate pass", 1.08),
      ("adam", 5, "separate pass", 1 + 4 / 35),
      ("adam", 10, "fused pass", 1 + 2 / 70),
    ):
      bound = optimizer_cases.traffic_bound(inner, k, way)
      self.assertAlmostEqual(bound, expected)


class ShapesTest(tf.test.TestCase):
  def test_resnet50_has_the_published_number_of_parameters(self):
    # torchvision: sum(p.numel() for p in resnet50().parameters()).
    shapes = optimizer_cases.resnet50_shapes()
    self.assertEqual(optimizer_cases.count_parameters(shapes), 25_557_032)
    # 53 convolutions, each with gamma and beta, and the last layer.
    self.assertLen(shapes, 53 * 3 + 2)
    self.assertLen([s for s in shapes if len(s) == 4], 53)
    self.assertEqual(
      sum(math.prod(s) for s in shapes if len(s) == 4), 23_454_912
    )

  def test_transformer_base_has_the_parts_of_table_3(self):
    # d = 512, inner 4 d: an attention has 4 d^2, a feed-forward layer 8 d^2 and
    # biases of 5 d, a normalization 2 d.
    d = 512
    encoder_layer = 12 * d**2 + 5 * d + 2 * 2 * d
    decoder_layer = 16 * d**2 + 5 * d + 3 * 2 * d
    expected = 6 * (encoder_layer + decoder_layer) + 2 * 2 * d
    for vocabulary in (2**15, 37_000):
      self.assertEqual(
        optimizer_cases.count_parameters(
          optimizer_cases.transformer_base_shapes(vocabulary)
        ),
        expected + vocabulary * d,
      )
    # A layer's tensors: a matrix or a vector each.
    self.assertLen(
      optimizer_cases.transformer_base_shapes(), 6 * (12 + 18) + 2 * 2 + 1
    )


if __name__ == "__main__":
  tf.test.main()
