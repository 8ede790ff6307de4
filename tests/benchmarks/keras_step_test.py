import tensorflow as tf
from absl.testing import parameterized

from benchmarks import keras_step, parameter_shapes


class KerasStepTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.product(mode=keras_step.MODES, sync_period=[None, 2])
  def test_runs_the_steps_it_times(self, mode, sync_period):
    # Parameters start at the gradients g, which do not change: all that follows
    # is a multiple of g.
    gradients = keras_step.make_gradients(parameter_shapes.tiny())
    step = keras_step.KerasStep(gradients, "sgd", mode, sync_period)
    self.assertGreater(step.run(4), 0)
    fast, slow, velocity = 1.0, 1.0, 0.0
    for i in range(1, 5):
      velocity = 0.9 * velocity - 0.01
      fast += velocity
      if sync_period and i % sync_period == 0:
        fast = slow = slow + 0.5 * (fast - slow)
    for parameter, gradient in zip(step.parameters, gradients):
      self.assertAllClose(parameter, fast * gradient, rtol=1e-5)

  @parameterized.parameters("sgd", "adam")
  def test_state_is_one_copy_of_the_parameters_more(self, inner):
    shapes = parameter_shapes.tiny()
    gradients = keras_step.make_gradients(shapes)
    bare, lookahead = (
      keras_step.KerasStep(gradients, inner, "graph", period).state_bytes()
      for period in (None, 5)
    )
    parameters = 4 * parameter_shapes.count(shapes)
    self.assertBetween(bare / parameters, {"sgd": 1, "adam": 2}[inner], 2.1)
    # And a few scalars.
    self.assertBetween(lookahead - bare, parameters, parameters + 64)


if __name__ == "__main__":
  tf.test.main()
