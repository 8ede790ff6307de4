import tensorflow as tf
from absl.testing import parameterized

from benchmarks import optimizer_cases, parameter_shapes


class OptimizerStepsTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.product(
    mode=list(optimizer_cases.MODES), sync_period=[None, 2]
  )
  def test_runs_the_steps_it_times(self, mode, sync_period):
    # Parameters start at the gradients g, which do not change: all that follows
    # is a multiple of g.
    gradients = optimizer_cases.make_gradients(parameter_shapes.tiny())
    steps = optimizer_cases.OptimizerSteps(gradients, "sgd", mode, sync_period)
    self.assertGreater(steps.run(4), 0)
    fast, slow, velocity = 1.0, 1.0, 0.0
    for i in range(1, 5):
      velocity = 0.9 * velocity - 0.01
      fast += velocity
      if sync_period and i % sync_period == 0:
        fast = slow = slow + 0.5 * (fast - slow)
    for parameter, gradient in zip(steps.parameters, gradients):
      self.assertAllClose(parameter, fast * gradient, rtol=1e-5)

  @parameterized.parameters("sgd", "adam")
  def test_state_is_one_copy_of_the_parameters_more(self, inner):
    shapes = parameter_shapes.tiny()
    gradients = optimizer_cases.make_gradients(shapes)
    bare, lookahead = (
      optimizer_cases.OptimizerSteps(
        gradients, inner, "graph", period
      ).state_bytes()
      for period in (None, 5)
    )
    parameters = 4 * parameter_shapes.count(shapes)
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


if __name__ == "__main__":
  tf.test.main()
