import numpy as np
import tensorflow as tf

from trainers import tracing


class ConcreteTest(tf.test.TestCase):
  def test_concrete_functions_are_traced_once_for_a_shape_and_do_not_warn(self):
    traced = []

    def make():
      @tf.function
      def double(values):
        traced.append(tuple(values.shape))
        return 2 * values

      return double

    shapes = [(i,) for i in range(1, 8)]

    def call(function):
      for shape in (*shapes, *shapes):
        self.assertAllEqual(function(tf.ones(shape)), 2 * np.ones(shape))

    with self.assertNoLogs("tensorflow", "WARNING"):
      call(tracing.concrete(make()))
      self.assertEqual(traced, shapes)
      for _ in shapes:  # As in one run after another.
        tracing.concrete(make())(tf.ones((1,)))
    with self.assertLogs("tensorflow", "WARNING") as logs:
      call(make())
    self.assertIn("triggered tf.function retracing", logs.output[0])


if __name__ == "__main__":
  tf.test.main()
