import contextlib
import io
import os
import signal
import sys
import threading
from unittest import mock

import tensorflow as tf
from absl.testing import parameterized

from trainers import signals


class WatchTest(tf.test.TestCase, parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.told = threading.Event()
    self.sentences = []
    self.before = [signal.getsignal(number) for number in signals.NAMES]

  def tearDown(self):
    after = [signal.getsignal(number) for number in signals.NAMES]
    self.assertEqual(after, self.before)
    self.assertEqual(signal.set_wakeup_fd(-1), -1)
    super().tearDown()

  def _tell(self, sentence):
    self.sentences.append(sentence)
    self.told.set()

  @parameterized.parameters(signal.SIGTERM, signal.SIGINT)
  def test_remembers_the_signal(self, number):
    with signals.Watch(self._tell) as watch:
      self.assertEqual(watch.number, 0)
      os.kill(os.getpid(), number)
      self.assertEqual(watch.number, number)
    # What to expect of a Ctrl-C is told at once, of SIGTERM to nobody.
    self.assertLen(self.sentences, int(number == signal.SIGINT))

  def test_another_thread_tells_what_to_expect(self):
    threads = []

    def tell(sentence):
      threads.append(threading.current_thread())
      self._tell(sentence)

    with signals.Watch(tell):
      os.kill(os.getpid(), signal.SIGINT)
      self.assertTrue(self.told.wait(30))
    # The main thread may be in TensorFlow for as long as a loop takes.
    self.assertIsNot(threads[0], threading.main_thread())
    self.assertRegex(self.sentences[0], "checkpoint.*Another Ctrl-C")

  def test_another_ctrl_c_ends_at_once(self):
    ended = threading.Event()
    with (
      mock.patch.object(
        signals, "_end_at_once", side_effect=lambda sentence: ended.set()
      ),
      signals.Watch(self._tell),
    ):
      os.kill(os.getpid(), signal.SIGINT)
      self.assertTrue(self.told.wait(30))
      self.assertFalse(ended.is_set())
      os.kill(os.getpid(), signal.SIGINT)
      self.assertTrue(ended.wait(30))

  def test_a_signal_that_is_ignored_stays_ignored(self):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    self.addCleanup(signal.signal, signal.SIGINT, before)
    with signals.Watch(self._tell) as watch:
      os.kill(os.getpid(), signal.SIGINT)
    self.assertEqual((watch.number, self.sentences), (0, []))
    signal.signal(signal.SIGINT, before)

  def test_watches_within_each_other(self):
    ended = []
    with mock.patch.object(signals, "_end_at_once", ended.append):
      with signals.ending_at_second_ctrl_c():
        with signals.Watch(self._tell):
          os.kill(os.getpid(), signal.SIGINT)
          self.assertTrue(self.told.wait(30))
        # The count of the outer one begins here.
        with self.assertRaises(KeyboardInterrupt):
          os.kill(os.getpid(), signal.SIGINT)
      self.assertEmpty(ended)

  def test_in_another_thread(self):
    numbers = []

    def use():
      with signals.ending_at_second_ctrl_c():
        numbers.append(1)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    self.assertEqual(numbers, [1])


class EndTest(tf.test.TestCase):
  def _end(self, function):
    """Returns what is written, and what the signal would meet."""
    with (
      contextlib.redirect_stderr(io.StringIO()) as text,
      mock.patch.object(signal, "raise_signal") as raised,
    ):
      before = signal.getsignal(signal.SIGINT)
      try:
        function()
        handler = signal.getsignal(signal.SIGINT)
      finally:
        signal.signal(signal.SIGINT, before)
    raised.assert_called_once_with(signal.SIGINT)
    self.assertEqual(handler, signal.SIG_DFL)
    return text.getvalue()

  def test_a_sentence_then_the_signal(self):
    for stop, sentence in (
      (KeyboardInterrupt("Stopped after step 3."), "Stopped after step 3.\n"),
      (KeyboardInterrupt(), "Stopped by Ctrl-C.\n"),
    ):
      written = self._end(lambda stop=stop: signals.end_by_ctrl_c(stop))
      self.assertEqual(written, sentence)

  def test_hook_of_programs(self):
    with mock.patch.object(sys, "excepthook") as before:
      signals.tell_ctrl_c_by_a_sentence()
      hook = sys.excepthook
      error = ValueError()
      hook(ValueError, error, None)
      before.assert_called_once_with(ValueError, error, None)
    stop = KeyboardInterrupt()
    written = self._end(lambda: hook(KeyboardInterrupt, stop, None))
    self.assertEqual(written, "Stopped by Ctrl-C.\n")


if __name__ == "__main__":
  tf.test.main()
