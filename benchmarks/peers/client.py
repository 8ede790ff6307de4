"""Other libraries: their environment, and processes that do their work."""

import contextlib
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import venv
from collections.abc import Iterable, Mapping
from typing import Any

from absl import flags

_SERVER = pathlib.Path(__file__).with_name("server.py")
_REQUIREMENTS = pathlib.Path(__file__).with_name("requirements.txt")

_PEERS = flags.DEFINE_bool(
  "peers",
  False,
  "Measure other libraries too. The first time they are installed, 6 GB, into "
  "an environment in the user's cache folder.",
)
_PEERS_PYTHON = flags.DEFINE_string(
  "peers_python",
  None,
  "A Python interpreter that has the other libraries already: measures them "
  "too, without installing them.",
)
flags.register_validator(
  "peers_python",
  lambda path: path is None or os.access(path, os.X_OK),
  "must be the path of a Python interpreter",
)


def find_interpreter() -> str | None:
  """Returns the interpreter that the flags ask for, None if they ask for none.

  Ends the program with a sentence if the other libraries cannot be installed.
  """
  if _PEERS_PYTHON.value or not _PEERS.value:
    return _PEERS_PYTHON.value
  cache = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
  try:
    return install(pathlib.Path(cache) / "lookahead-tf-benchmarks")
  except (OSError, subprocess.CalledProcessError) as error:
    sys.exit(f"Error: --peers: the libraries cannot be installed: {error}")


def install(folder: pathlib.Path) -> str:
  """Returns an interpreter with requirements.txt installed, new or as it was.

  Args:
    folder: Gets one environment for each version of requirements.txt.

  Raises:
    subprocess.CalledProcessError: if pip fails.
  """
  wanted = hashlib.sha256(_REQUIREMENTS.read_bytes()).hexdigest()
  environment = folder / wanted[:16]
  python = environment / "bin" / "python"
  stamp = environment / "installed"
  if not stamp.exists():
    print(f"Installing other libraries into {environment}.", file=sys.stderr)
    venv.create(environment, with_pip=True)
    pip = [python, "-m", "pip", "install", "-r", _REQUIREMENTS]
    subprocess.run(pip, check=True, stdout=sys.stderr)
    stamp.touch()
  return str(python)


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
