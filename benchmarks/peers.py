"""Other libraries' steps, each measured in a process of its own."""

import contextlib
import json
import pathlib
import subprocess
from typing import Any

_WORKER = pathlib.Path(__file__).with_name("peer_worker.py")

# Those with a Lookahead, by the names that the worker knows, with how they
# execute.
NAMES = {
  "optax": "optax, jit",
  "optax_donating": "optax, jit with donation",
  "pytorch_optimizer": "pytorch_optimizer",
  "timm": "timm",
}


class NotMeasured(Exception):
  """A peer that cannot be measured; the message is the reason, in one line."""


class Peer:
  """A worker process, which idles except within `run`.

  A context manager: the process ends with it.

  Args:
    python: Interpreter that has the peer installed.
    name: A key of `peer_worker.PEERS`.
    warmup_steps: Steps to make before any is timed.
    **arguments: Of that peer's maker.

  Attributes:
    versions: Of the peer and its framework, by name.

  Raises:
    NotMeasured: if the peer cannot be imported or does not work.
  """

  def __init__(
    self, python: str, name: str, warmup_steps: int, **arguments: Any
  ):
    # Isolated: neither this directory nor PYTHONPATH is for that interpreter.
    self._process = subprocess.Popen(
      [python, "-I", str(_WORKER)],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
    )
    try:
      self.versions = self._ask(
        peer=name, warmup_steps=warmup_steps, arguments=arguments
      )["versions"]
    except NotMeasured:
      self.close()
      raise

  def run(self, which: str, steps: int) -> float:
    """Makes steps, and returns the seconds that one took on average.

    Args:
      which: Of the peer's runners: "bare", or "lookahead" if it has one.
      steps: Number of steps.
    """
    return self._ask(which=which, steps=steps)["seconds"]

  def _ask(self, **request):
    try:
      self._process.stdin.write(json.dumps(request) + "\n")
      self._process.stdin.flush()
      line = self._process.stdout.readline()
    except BrokenPipeError:
      line = ""
    if not line:
      status = self._process.wait()
      raise NotMeasured(f"its process ended with status {status}")
    reply = json.loads(line)
    if "error" in reply:
      raise NotMeasured(" ".join(reply["error"].split()))
    return reply

  def close(self) -> None:
    """Ends the process, and with it frees its memory."""
    self._process.stdout.close()
    with contextlib.suppress(BrokenPipeError):
      self._process.stdin.close()
    self._process.wait()

  def __enter__(self):
    return self

  def __exit__(self, *exception):
    self.close()
