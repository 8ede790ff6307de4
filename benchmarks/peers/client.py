"""Other libraries' work, each measured in a process of its own."""

import contextlib
import json
import pathlib
import subprocess
import sys
from collections.abc import Iterable, Mapping
from typing import Any

_SERVER = pathlib.Path(__file__).with_name("server.py")


class NotMeasured(Exception):
  """A peer that cannot be measured; the message is the reason, in one line."""


class Peer:
  """A process that works during `run` and idles otherwise.

  The context manager ends the process.

  Args:
    python: Interpreter that has the peer installed.
    name: A key of `server.PEERS`.
    warmup_steps: Steps to make before any is timed.
    **arguments: Arguments of the function that `server.PEERS` names.

  Attributes:
    versions: Versions of the peer and its framework, by name.

  Raises:
    NotMeasured: if the peer cannot be imported or does not work.
  """

  def __init__(
    self, python: str, name: str, warmup_steps: int, **arguments: Any
  ):
    # Isolated: neither this directory nor PYTHONPATH is for that interpreter.
    self._process = subprocess.Popen(
      [python, "-I", str(_SERVER)],
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
      which: A runner of the peer: "bare", or "lookahead" if it has one.
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
    """Ends the process, which frees its memory."""
    self._process.stdout.close()
    with contextlib.suppress(BrokenPipeError):
      self._process.stdin.close()
    self._process.wait()

  def __enter__(self):
    return self

  def __exit__(self, *exception):
    self.close()


class Peers(contextlib.ExitStack):
  """The peers of one measurement; the context manager ends their processes.

  Args:
    python: Interpreter that has them installed, or None for no peers.

  Attributes:
    versions: Versions of all peers that were started, by name.
    not_measured: For each peer that cannot be measured, the reason.
  """

  def __init__(self, python: str | None):
    super().__init__()
    self._python = python
    self.versions: dict[str, str] = {}
    self.not_measured: dict[str, str] = {}

  def start(
    self, label: str, name: str, warmup_steps: int, **arguments: Any
  ) -> Peer | None:
    """Returns a peer, or None if it is not measured.

    Args:
      label: What tables call the peer.
      name: As for `Peer`.
      warmup_steps: As for `Peer`.
      **arguments: As for `Peer`.
    """
    if self._python is None:
      return None
    try:
      peer = self.enter_context(
        Peer(self._python, name, warmup_steps, **arguments)
      )
    except NotMeasured as error:
      self.not_measured[label] = str(error)
      print(f"{label}: not measured: {error}", file=sys.stderr)
      return None
    self.versions |= peer.versions
    return peer


def describe_not_measured(records: Iterable[Mapping[str, Any]]) -> str:
  """Returns a line for each peer that could not be measured, and why.

  Args:
    records: Each has `not_measured`, as `Peers` has it.
  """
  lines = {
    f"{label}: not measured: {reason}\n"
    for record in records
    for label, reason in record["not_measured"].items()
  }
  return "\n" * bool(lines) + "".join(sorted(lines))
