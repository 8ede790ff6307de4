"""The Python environment that has the other libraries."""

import hashlib
import os
import pathlib
import subprocess
import sys
import venv

from absl import flags

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


def interpreter() -> str | None:
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
