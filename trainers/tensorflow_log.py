"""TensorFlow's own log, which would bury the progress bar and our errors.

TensorFlow writes to file descriptor 2, past Python. The lines that it writes
while it is imported heed no variable of the environment.
"""

import contextlib
import faulthandler
import os
import re
import sys
import tempfile
from collections.abc import Iterator

# A variable of the environment, which is set to find a fault in TensorFlow.
SHOWN_BY = "TF_CPP_MAX_VLOG_LEVEL"
_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
# The reason why an operation fails is in its exception too.
_FATAL_ERRORS_ONLY = "3"

# Lines of abseil's log and of TensorFlow's former one, but no fatal errors.
_LOG_LINE = re.compile(
  rb"[IWE]\d{4} [\d:.]+ +\d+ \S+:\d+\] "
  rb"|\d{4}-\d\d-\d\d [\d:.]+: [IWE] \S+:\d+\] "
  rb"|WARNING: All log messages before absl::InitializeLog\(\) "
  rb"|To enable the following instructions: "
)


def limit() -> None:
  """Limits the log to fatal errors; call it before TensorFlow is imported."""
  if SHOWN_BY not in os.environ:
    os.environ[_LEVEL] = _FATAL_ERRORS_ONLY


@contextlib.contextmanager
def left_out() -> Iterator[None]:
  """Returns a context manager that keeps log lines off stderr.

  Whatever else is written to stderr appears at the end of the context manager.
  If TensorFlow cannot be imported, log lines appear too, and a crash writes
  Python's stack. With the variable SHOWN_BY in the environment nothing is kept
  off.
  """
  file = None
  try:
    file = tempfile.TemporaryFile()  # noqa: SIM115 - closed below.
    stderr = os.dup(2)
  except OSError:  # No room for files, or stderr is closed.
    if file:
      file.close()
    yield
    return
  shows_all = SHOWN_BY in os.environ
  has_fault_handler = faulthandler.is_enabled()
  if not has_fault_handler:
    faulthandler.enable(stderr)
  _flush()
  os.dup2(file.fileno(), 2)
  try:
    yield
  except ImportError:
    shows_all = True
    raise
  finally:
    _flush()
    os.dup2(stderr, 2)
    if not has_fault_handler:
      faulthandler.disable()
    os.close(stderr)
    with file:
      file.seek(0)
      lines = [line for line in file if shows_all or not _LOG_LINE.match(line)]
    with contextlib.suppress(OSError):
      os.write(2, b"".join(lines))


def _flush():
  if sys.stderr is not None:
    sys.stderr.flush()
