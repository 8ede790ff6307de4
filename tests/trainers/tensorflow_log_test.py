import contextlib
import faulthandler
import os
import tempfile
from unittest import mock

import tensorflow as tf

from trainers import tensorflow_log

# What TensorFlow 2.21 and 2.19 write at their import on a machine without GPU.
_LOG = (
  "WARNING: All log messages before absl::InitializeLog() is called are",
  "I0000 00:00:1795859088.601692   27268 port.cc:153] oneDNN custom operations",
  "E0000 00:00:1795859092.473899   27268 cuda_platform.cc:52] failed call",
  "2026-11-28 09:44:20.123456: I tensorflow/core/platform/cpu.cc:210] This",
  "To enable the following instructions: AVX2, in other operations",
)
_OTHERS = (
  "DeprecationWarning: Input is old.",
  "F0000 00:00:1795859088.601692   27268 cpu_feature_guard.cc:38] compiled for",
)


@contextlib.contextmanager
def _stderr():
  """A list that holds the lines written to the descriptor 2, at the end."""
  lines = []
  with tempfile.TemporaryFile() as file:
    before = os.dup(2)
    os.dup2(file.fileno(), 2)
    try:
      yield lines
    finally:
      os.dup2(before, 2)
      os.close(before)
    file.seek(0)
    lines += file.read().decode().splitlines()


def _write(*lines):
  os.write(2, "".join(f"{line}\n" for line in lines).encode())


class LeftOutTest(tf.test.TestCase):
  def test_log_lines_and_nothing_else(self):
    with _stderr() as lines:
      with tensorflow_log.left_out():
        _write(_LOG[0], _OTHERS[0], *_LOG[1:], _OTHERS[1])
      _write(_LOG[1])
    self.assertEqual(lines, [*_OTHERS, _LOG[1]])

  def test_an_import_that_fails_shows_all(self):
    with _stderr() as lines:
      for error in (ImportError, KeyboardInterrupt):
        with self.assertRaises(error), tensorflow_log.left_out():
          _write(*_LOG)
          raise error
    # Not for a Ctrl-C.
    self.assertEqual(lines, [*_LOG])

  @mock.patch.dict(os.environ, {tensorflow_log.SHOWN_BY: "0"})
  def test_a_variable_shows_all(self):
    with _stderr() as lines, tensorflow_log.left_out():
      _write(*_LOG)
    self.assertEqual(lines, [*_LOG])
    with mock.patch.dict(os.environ, TF_CPP_MIN_LOG_LEVEL="0"):
      tensorflow_log.limit()
      self.assertEqual(os.environ["TF_CPP_MIN_LOG_LEVEL"], "0")

  def test_a_crash_leaves_a_stack(self):
    with _stderr() as lines:
      process = os.fork()
      if not process:
        faulthandler.disable()  # That of pytest.
        with tensorflow_log.left_out():
          os.abort()
      os.waitpid(process, 0)
    self.assertIn("Fatal Python error: Aborted", "\n".join(lines))

  def test_without_stderr(self):
    with (
      _stderr() as lines,
      mock.patch.object(os, "dup", side_effect=OSError),
      tensorflow_log.left_out(),
    ):
      _write(*_LOG)
    self.assertEqual(lines, [*_LOG])


class LimitTest(tf.test.TestCase):
  def test_fatal_errors_alone(self):
    for given in ({}, {"TF_CPP_MIN_LOG_LEVEL": "0"}):
      with mock.patch.dict(os.environ, given, clear=True):
        tensorflow_log.limit()
        self.assertEqual(os.environ["TF_CPP_MIN_LOG_LEVEL"], "3")


if __name__ == "__main__":
  tf.test.main()
