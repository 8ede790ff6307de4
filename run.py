"""Runs the demo or the tests in an environment of their own.

python3.11 run.py demo    trains a classifier with SGD and with Lookahead
python3.11 run.py test    runs all tests
python3.11 run.py lint    checks style and format

The first call makes .venv beside this file and installs into it. Further
arguments go to the program: run.py demo --seeds=1, run.py test -k checkpoint.
"""

import hashlib
import os
import pathlib
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
}


def install() -> None:
  """Makes the environment, unless pyproject.toml is as at the last time.

  Programs of the environment import the trainers and configs from any folder.
  """
  _install_requirements()
  for folder in [*VENV.glob("lib/python*"), *VENV.glob("Lib")]:
    (folder / "site-packages" / "lookahead_repository.pth").write_text(
      f"{ROOT}\n"
    )


def _install_requirements():
  stamp = VENV / "installed"
  wanted = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
  if stamp.exists() and stamp.read_text() == wanted:
    return
  print(f"Installing into {VENV}: 2.8 GB, a minute or more.", flush=True)
  venv.create(VENV, with_pip=True, clear=not stamp.exists())
  pip = [PYTHON, "-m", "pip", "install", "-r", "requirements.txt"]
  subprocess.run(pip, cwd=ROOT, check=True)
  stamp.write_text(wanted)


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
  except subprocess.CalledProcessError as error:
    print(f"The installation failed: {error}", file=sys.stderr)
    return 1
  name, *further = arguments
  # TensorFlow complains at length about a GPU that is not there.
  environment = {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONUNBUFFERED": "1"}
  for command in COMMANDS[name]:
    status = subprocess.run(
      [PYTHON, *command, *further], cwd=ROOT, env=os.environ | environment
    ).returncode
    if status:
      return status
  return 0


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
