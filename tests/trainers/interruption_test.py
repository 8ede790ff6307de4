import os
import signal

import tensorflow as tf

from tests import replicas
from trainers import interruption


class WatchTest(tf.test.TestCase):
  def test_remembers_a_sigterm_and_restores_the_handler(self):
    before = signal.getsignal(signal.SIGTERM)
    with interruption.Watch() as watch:
      self.assertFalse(watch.is_requested)
      os.kill(os.getpid(), signal.SIGTERM)
      self.assertTrue(watch.is_requested)
    self.assertEqual(signal.getsignal(signal.SIGTERM), before)


class LostHostsTest(tf.test.TestCase):
  def _lose(self, strategy, error):
    with interruption.of_lost_hosts(strategy):
      raise error

  def test_an_error_of_a_single_host_stays(self):
    error = tf.errors.UnavailableError(None, None, "")
    for strategy in (
      replicas.mirrored(),
      tf.distribute.OneDeviceStrategy("CPU:0"),
    ):
      with self.assertRaises(tf.errors.UnavailableError):
        self._lose(strategy, error)

  def test_another_host(self):
    strategy = tf.distribute.get_strategy()  # Neither of the above.
    with self.assertRaisesRegex(
      interruption.Interrupted, "same command again.*UnavailableError"
    ):
      self._lose(strategy, tf.errors.UnavailableError(None, None, ""))
    with self.assertRaises(tf.errors.InvalidArgumentError):
      self._lose(strategy, tf.errors.InvalidArgumentError(None, None, ""))


if __name__ == "__main__":
  tf.test.main()
