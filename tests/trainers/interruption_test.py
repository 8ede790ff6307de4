import contextlib
import io
import os
import signal

import tensorflow as tf

from tests import replicas
from trainers import interruption
from trainers.errors import UserError


class WatchTest(tf.test.TestCase):
  def test_remembers_a_sigterm_and_restores_the_handler(self):
    before = signal.getsignal(signal.SIGTERM)
    with interruption.Watch() as watch:
      self.assertFalse(watch.is_requested)
      os.kill(os.getpid(), signal.SIGTERM)
      self.assertTrue(watch.is_requested)
    self.assertEqual(signal.getsignal(signal.SIGTERM), before)


class EndingTest(tf.test.TestCase):
  def test_sentences_and_statuses(self):
    for error, expected in (
      (UserError("Wrong."), "Error: Wrong."),  # A text is status 1.
      (interruption.Interrupted("Stopped."), interruption.EXIT_STATUS),
    ):
      with (
        contextlib.redirect_stderr(io.StringIO()) as text,
        self.assertRaises(SystemExit) as end,
        interruption.ending_the_program(),
      ):
        raise error
      self.assertEqual(end.exception.code, expected)
      # What is not in the status is printed; the interpreter prints the other.
      self.assertEqual(
        text.getvalue(), "" if isinstance(expected, str) else "Stopped.\n"
      )

  def test_other_errors_stay(self):
    with self.assertRaises(ValueError), interruption.ending_the_program():
      raise ValueError


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
