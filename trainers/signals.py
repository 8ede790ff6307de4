"""Signals: Ctrl-C and SIGTERM end a program with a sentence, not a traceback.

Python's handlers of signals run in the main thread, between two instructions of
Python: not before TensorFlow returns from the steps under way. Another thread
does here what has to happen at once.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator

# Status that a shell reports of a program that SIGINT ended.
CTRL_C_STATUS = 128 + signal.SIGINT

NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}


class Watch:
  """A context manager that remembers a Ctrl-C or SIGTERM instead of ending.

  Clusters send SIGTERM before they take a machine back. A second Ctrl-C ends
  the program at once, with CTRL_C_STATUS. A signal that the process ignores
  stays ignored, as SIGINT is in a program that a script starts with `&`. Only
  the main thread receives signals: in another thread the context manager does
  nothing.

  Args:
    tell: Prints a sentence. Called in another thread.

  Attributes:
    number: Number of the last signal that came, or 0.
  """

  def __init__(self, tell: Callable[[str], None]):
    self.number = 0
    self._tell = tell
    self._before = {}
    self._stack = contextlib.ExitStack()

  def _remember(self, number, frame):
    self.number = number

  def _on_signal(self, number, count):
    if number == signal.SIGINT and count == 1:
      self._tell(
        "Ctrl-C: training stops with a checkpoint, as soon as the steps and "
        "the evaluation under way are done. Another Ctrl-C ends at once."
      )
    elif number == signal.SIGINT:
      _end_at_once(
        "Ended at once by a second Ctrl-C: run the same command again to go on "
        "from the last checkpoint."
      )

  def __enter__(self) -> "Watch":
    if threading.current_thread() is not threading.main_thread():
      return self
    self._stack.enter_context(_listening(self._on_signal))
    for number in NAMES:
      if signal.getsignal(number) != signal.SIG_IGN:
        before = signal.signal(number, self._remember)
        self._stack.callback(signal.signal, number, before)
    return self

  def __exit__(self, *exception):
    self._stack.close()


@contextlib.contextmanager
def ending_at_second_ctrl_c() -> Iterator[None]:
  """Returns a context manager in which a second Ctrl-C is not waited for.

  A second Ctrl-C ends the program at once. The first is a KeyboardInterrupt, as
  always. It has to wait until code that is not Python returns, such as the
  training of a vocabulary.
  """

  def on_signal(number, count):
    if number == signal.SIGINT and count == 2:
      _end_at_once("Ended at once by a second Ctrl-C.")

  with _listening(on_signal):
    yield


def end_by_ctrl_c(stop: KeyboardInterrupt) -> None:
  """Prints a sentence and ends the program as SIGINT does without a handler.

  A shell that ran the program then ends its loop too.

  Args:
    stop: Its message is the sentence, if it has one.
  """
  if sys.stderr.isatty():
    print(file=sys.stderr)  # The terminal has written ^C there.
  print(str(stop) or "Stopped by Ctrl-C.", file=sys.stderr, flush=True)
  sys.stdout.flush()
  signal.signal(signal.SIGINT, signal.SIG_DFL)
  signal.raise_signal(signal.SIGINT)


def tell_ctrl_c_by_a_sentence() -> None:
  """Makes a KeyboardInterrupt that nothing catches a sentence, for programs.

  A program calls it for the seconds of imports before it handles errors itself.
  """
  before = sys.excepthook

  def hook(kind, error, traceback):
    if issubclass(kind, KeyboardInterrupt):
      end_by_ctrl_c(error)
    else:
      before(kind, error, traceback)

  sys.excepthook = hook


@contextlib.contextmanager
def _listening(on_signal: Callable[[int, int], None]) -> Iterator[None]:
  """Returns a context manager with a thread that hears of each signal at once.

  Only signals with a handler in Python are heard.

  Args:
    on_signal: Called in that thread with the number of the signal, and how many
      of that number have come.
  """
  if threading.current_thread() is not threading.main_thread():
    yield
    return
  reader, writer = os.pipe()
  os.set_blocking(writer, False)

  def listen():
    counts = dict.fromkeys(range(256), 0)
    while number := os.read(reader, 1)[0]:  # 0 is no signal: the end.
      counts[number] += 1
      on_signal(number, counts[number])

  thread = threading.Thread(target=listen, daemon=True)
  thread.start()
  before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
  try:
    yield
  finally:
    signal.set_wakeup_fd(before)
    os.write(writer, b"\0")
    thread.join()
    os.close(reader)
    os.close(writer)


def _end_at_once(sentence):
  """Ends the process without waiting for its main thread."""
  with contextlib.suppress(OSError):
    os.write(2, f"\n{sentence}\n".encode())
  os._exit(CTRL_C_STATUS)
