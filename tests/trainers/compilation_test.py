import numpy as np
import tensorflow as tf

from tests import replicas, xla
from trainers import compilation


def _one_device():
  return tf.distribute.OneDeviceStrategy("CPU:0")


class CompilationTest(tf.test.TestCase):
  def test_what_is_wanted(self):
    for strategy in (_one_device(), tf.distribute.get_strategy()):
      for wanted in (False, True):
        for on_cpu in (False, True):
          self.assertEqual(
            compilation.uses_xla(wanted, strategy, on_cpu), wanted
          )

  def test_several_replicas_are_not_compiled(self):
    for wanted in (None, False):
      self.assertFalse(
        compilation.uses_xla(wanted, replicas.mirrored(), on_cpu=True)
      )

  def test_on_a_cpu_if_it_is_faster(self):
    xla.require(self)
    self.assertFalse(compilation.uses_xla(None, _one_device(), on_cpu=False))
    self.assertTrue(compilation.uses_xla(None, _one_device(), on_cpu=True))

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
      call(compilation.concrete(make()))
      self.assertEqual(traced, shapes)
      for _ in shapes:  # As in one run after another.
        compilation.concrete(make())(tf.ones((1,)))
    with self.assertLogs("tensorflow", "WARNING") as logs:
      call(make())
    self.assertIn("triggered tf.function retracing", logs.output[0])


if __name__ == "__main__":
  tf.test.main()
