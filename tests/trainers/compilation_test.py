import tensorflow as tf

from tests import replicas, xla
from trainers import compilation


class CompilationTest(tf.test.TestCase):
  def test_what_is_wanted(self):
    for strategy in (tf.distribute.get_strategy(), replicas.mirrored()):
      for wanted in (False, True):
        self.assertEqual(compilation.uses_xla(wanted, strategy), wanted)

  def test_on_a_cpu_if_it_is_faster_and_there_is_one_replica(self):
    xla.require(self)
    one = tf.distribute.OneDeviceStrategy("CPU:0")
    self.assertFalse(compilation.uses_xla(None, one))
    self.assertTrue(compilation.uses_xla(None, one, on_cpu=True))
    self.assertFalse(
      compilation.uses_xla(None, replicas.mirrored(), on_cpu=True)
    )


if __name__ == "__main__":
  tf.test.main()
