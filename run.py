"""Runs the demo or the tests in an environment of their own.

python3.11 run.py demo    trains a classifier with SGD and with Lookahead
python3.11 run.py test    runs all tests
python3.11 run.py lint    checks style and format
python3.11 run.py docs    builds the site, site/html/index.html

The first call makes .venv beside this file and installs into it: with CUDA's
libraries too if nvidia-smi shows a GPU. Further arguments go to the program:
run.py demo --seeds=1, run.py test -k checkpoint.
"""

import hashlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import venv

ROOT = pathlib.Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

COMMANDS = {
  "demo": [
    ["-m", "experiments.compare_optimizers", "--workdir=runs/digits"],
  ],
  "test": [["-m", "pytest"]],
  "lint": [
    ["-m", "ruff", "check", "."],
    ["-m", "ruff", "format", "--check", "."],
  ],
  "docs": [
    [
      *("-m", "sphinx", "-M", "html", ".", "site", "-c", "docs"),
      *("-W", "--keep-going", "-q", "-j", "auto"),
    ],
  ],
}


def install() -> None:
  """Makes the environment, unless what it is made of is as at the last time.

  Programs of the environment import the trainers and configs from any folder.
  """
  _install_requirements()
  for folder in [*VENV.glob("lib/python*"), *VENV.glob("Lib")]:
    (folder / "site-packages" / "lookahead_repository.pth").write_text(
      f"{ROOT}\n"
    )


def install_docs() -> None:
  """Adds to the environment what builds the site; `install` comes first."""
  _pip_install("installed_docs", ["-e", ".[docs]"], "100 MB, half a minute")


def _install_requirements():
  requirements = ["-r", "requirements.txt"]
  size = "2.8 GB, a minute or more"
  if has_gpu():
    requirements.append("tensorflow[and-cuda]")
    size = "2.8 GB and several more of CUDA's libraries for the GPU here"
  _pip_install("installed", requirements, size)


def _pip_install(name, requirements, size):
  """Installs `requirements`, unless the stamp `name` says that they are there.

  An environment without the stamp "installed" is made anew.
  """
  stamp = VENV / name
  made_of = (ROOT / "pyproject.toml").read_bytes() + str(requirements).encode()
  wanted = hashlib.sha256(made_of).hexdigest()
  if stamp.exists() and stamp.read_text() == wanted:
    return
  print(f"Installing into {VENV}: {size}.", flush=True)
  if name == "installed":
    venv.create(VENV, with_pip=True, clear=not stamp.exists())
  if not _install_by_uv(requirements):
    pip = [PYTHON, "-m", "pip", "install", *requirements]
    subprocess.run(pip, cwd=ROOT, check=True)
  stamp.write_text(wanted)


def _install_by_uv(requirements):
  """Returns whether uv is there, which is faster than pip, and installed all.

  It does not read pip's settings, such as another index.
  """
  uv = shutil.which("uv")
  if uv is None:
    return False
  command = [uv, "pip", "install", "--python", PYTHON, *requirements]
  return subprocess.run(command, cwd=ROOT).returncode == 0


def has_gpu() -> bool:
  """Whether nvidia-smi shows a GPU."""
  program = shutil.which("nvidia-smi")
  if program is None:
    return False
  try:
    listed = subprocess.run([program, "-L"], capture_output=True, timeout=10)
  except (OSError, subprocess.SubprocessError):
    return False
  return listed.stdout.startswith(b"GPU ")


def run(command: list[str]) -> int:
  """Runs a command with the environment's Python; returns its exit status.

  Ctrl-C reaches the command too, which may save something before it ends.
  """
  # TensorFlow complains at length about a GPU that is not there.
  environment = {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONUNBUFFERED": "1"}
  before = signal.signal(signal.SIGINT, lambda number, frame: None)
  try:
    status = subprocess.run(
      [PYTHON, *command], cwd=ROOT, env=os.environ | environment
    ).returncode
  finally:
    signal.signal(signal.SIGINT, before)
  return status if status >= 0 else 128 - status  # As shells tell of signals.


def main(arguments: list[str]) -> int:
  """Runs the command that `arguments` name; returns its exit status."""
  if not arguments or arguments[0] not in COMMANDS:
    print(__doc__, file=sys.stderr)
    return 2
  if sys.version_info < (3, 11):  # noqa: UP036
    print(f"Python 3.11 or newer is needed, not {sys.version.split()[0]}.")
    return 2
  try:
    install()
    if arguments[0] == "docs":
      install_docs()
  except KeyboardInterrupt:
    print("The installation was stopped by Ctrl-C.", file=sys.stderr)
    return 128 + signal.SIGINT
  except subprocess.CalledProcessError as error:
    print(f"The installation failed: {error}", file=sys.stderr)
    return 1
  name, *further = arguments
  for command in COMMANDS[name]:
    if status := run([*command, *further]):
      return status
  return 0


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
