import contextlib
import io
import signal
import warnings
from unittest import mock

import tensorflow as tf

from tests import replicas
from trainers import errors, signals


class EndingTest(tf.test.TestCase):
  def test_sentences_and_statuses(self):
    for error, expected in (
      (errors.UserError("Wrong."), "Error: Wrong."),  # A text is status 1.
      (errors.Interrupted("Stopped."), errors.EXIT_STATUS),
    ):
      with (
        contextlib.redirect_stderr(io.StringIO()) as text,
        self.assertRaises(SystemExit) as end,
        errors.ending_the_program(),
      ):
        raise error
      self.assertEqual(end.exception.code, expected)
      # What is not in the status is printed; the interpreter prints the other.
      self.assertEqual(
        text.getvalue(), "" if isinstance(expected, str) else "Stopped.\n"
      )

  def test_ctrl_c(self):
    with (
      mock.patch.object(signals, "end_by_ctrl_c") as end,
      errors.ending_the_program(),
      errors.saying_how_to_go_on(),
    ):
      raise KeyboardInterrupt
    self.assertRegex(str(end.call_args.args[0]), "by Ctrl-C: .*same command")

  def test_a_sentence_that_a_ctrl_c_has_stays(self):
    with (
      self.assertRaisesRegex(KeyboardInterrupt, "after step 3"),
      errors.saying_how_to_go_on(),
    ):
      raise errors.stopped_by(signal.SIGINT, "Stopped after step 3.")

  def test_a_warning_is_a_line(self):
    before = warnings.formatwarning
    with errors.ending_the_program():
      for category, line in (
        (UserWarning, "Warning: A file is left out.\n"),
        (RuntimeWarning, "a.py:1: RuntimeWarning: A file is left out.\n"),
      ):
        written = warnings.formatwarning(
          "A file is left out.", category, "a.py", 1, line=""
        )
        self.assertEqual(written, line)
    self.assertIs(warnings.formatwarning, before)

  def test_out_of_memory(self):
    error = tf.errors.ResourceExhaustedError(None, None, "OOM for shape[9,9]\n")
    with (
      self.assertRaisesRegex(
        SystemExit, r"^Error: out of memory.*shape\[9,9\]"
      ),
      errors.ending_the_program(),
    ):
      raise error

  def test_other_errors_stay(self):
    with self.assertRaises(ValueError), errors.ending_the_program():
      raise ValueError


class LostHostsTest(tf.test.TestCase):
  def _lose(self, strategy, error):
    with errors.interrupted_by_lost_hosts(strategy):
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
      errors.Interrupted, "same command again.*UnavailableError"
    ):
      self._lose(strategy, tf.errors.UnavailableError(None, None, ""))
    with self.assertRaises(tf.errors.InvalidArgumentError):
      self._lose(strategy, tf.errors.InvalidArgumentError(None, None, ""))


class ExplainingInputTest(tf.test.TestCase):
  def _fail(self, error, find):
    with errors.explaining_input(find):
      raise error

  def test_the_mistake_in_the_data_is_raised_instead(self):
    for kind in (
      tf.errors.DataLossError,
      tf.errors.InvalidArgumentError,
      tf.errors.NotFoundError,
    ):
      with self.assertRaisesRegex(errors.UserError, "a.jpg cannot be read"):
        self._fail(
          kind(None, None, ""),
          lambda: errors.UserError("a.jpg cannot be read"),
        )

  def test_other_errors_stay(self):
    error = tf.errors.InvalidArgumentError(None, None, "of the model")
    with self.assertRaisesRegex(type(error), "of the model"):
      self._fail(error, lambda: None)
    with self.assertRaises(KeyError):
      self._fail(KeyError(), self.fail)


class ReasonTest(tf.test.TestCase):
  def test_of_a_python_function_it_is_what_that_says(self):
    def fail(number):
      raise ValueError(f"there is no {number}")

    dataset = tf.data.Dataset.range(1).map(
      lambda number: tf.numpy_function(fail, [number], tf.int64)
    )
    with self.assertRaises(tf.errors.InvalidArgumentError) as raised:
      next(iter(dataset))
    self.assertEqual(errors.reason(raised.exception), "there is no 0")


if __name__ == "__main__":
  tf.test.main()
