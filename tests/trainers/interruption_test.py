import os
import signal

import tensorflow as tf

from tests import replicas
from trainers import interruption


class InterruptionTest(tf.test.TestCase):
  def test_remembers_a_sigterm_and_restores_the_handler(self):
    before = signal.getsignal(signal.SIGTERM)
    with interruption.Watch() as watch:
      self.assertFalse(watch.is_requested)
      os.kill(os.getpid(), signal.SIGTERM)
      self.assertTrue(watch.is_requested)
    self.assertEqual(signal.getsignal(signal.SIGTERM), before)

  def test_one_process_agrees_with_itself(self):
    agree = interruption.make_agreement(replicas.mirrored())
    self.assertTrue(agree(True))
    self.assertFalse(agree(False))


if __name__ == "__main__":
  tf.test.main()
