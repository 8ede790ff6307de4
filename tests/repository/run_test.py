"""run.py: what it installs, and what Ctrl-C does to the program it runs."""

import contextlib
import importlib.util
import io
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time
from unittest import mock

from absl.testing import absltest

_PATH = pathlib.Path(__file__).parents[2] / "run.py"


def _load():
  spec = importlib.util.spec_from_file_location("run", _PATH)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


class InstallTest(absltest.TestCase):
  def _installed(self, listed):
    """Returns what pip is asked for where nvidia-smi prints `listed`."""
    (pip,), text = self._install({"nvidia-smi": listed})
    self.assertEqual(pip[1:3], ["-m", "pip"])
    return pip[3:], text

  def _install(self, programs, failing=None):
    """Returns the installers' command lines, and what was printed.

    Args:
      programs: What the programs that are there print, by name.
      failing: The one that ends with status 1.
    """
    run = _load()
    directory = pathlib.Path(tempfile.mkdtemp())

    def start(command, check=False, **options):
      return subprocess.CompletedProcess(
        command, int(command[0] == failing), stdout=programs.get(command[0])
      )

    with (
      mock.patch.object(run, "VENV", directory),
      mock.patch.object(run.venv, "create"),
      mock.patch.object(
        run.shutil, "which", lambda name: name if programs.get(name) else None
      ),
      mock.patch.object(run.subprocess, "run", side_effect=start) as runs,
      contextlib.redirect_stdout(io.StringIO()) as text,
    ):
      run.install()
      run.install()  # Nothing has changed.
    commands = [call.args[0] for call in runs.call_args_list]
    return [c for c in commands if "install" in c], text.getvalue()

  def test_cuda_where_there_is_a_gpu(self):
    arguments, text = self._installed(b"GPU 0: NVIDIA H200 (UUID: GPU-1)\n")
    self.assertEqual(
      arguments, ["install", "-r", "requirements.txt", "tensorflow[and-cuda]"]
    )
    self.assertIn("CUDA", text)

  def test_no_cuda_where_there_is_none(self):
    for listed in (None, b"", b"No devices were found\n"):
      arguments, text = self._installed(listed)
      self.assertEqual(arguments, ["install", "-r", "requirements.txt"])
      self.assertNotIn("CUDA", text)

  def test_uv_where_it_is_there_and_pip_where_uv_fails(self):
    (uv,), _ = self._install({"uv": b"uv"})
    self.assertEqual(uv[:4], ["uv", "pip", "install", "--python"])
    self.assertEqual(uv[5:], ["-r", "requirements.txt"])
    failed, pip = self._install({"uv": b"uv"}, failing="uv")[0]
    self.assertEqual(failed[0], "uv")
    self.assertEqual(
      pip[1:], ["-m", "pip", "install", "-r", "requirements.txt"]
    )


class CtrlCTest(absltest.TestCase):
  def test_the_program_ends_by_itself(self):
    run = _load()
    directory = tempfile.mkdtemp()
    ready, saved = (os.path.join(directory, name) for name in ("a", "b"))
    # A program that takes longer to save than subprocess.run would wait.
    program = (
      "import os, signal, time\n"
      "try:\n"
      f"  open({ready!r}, 'w').close()\n"
      "  time.sleep(60)\n"
      "except KeyboardInterrupt:\n"
      "  time.sleep(0.5)\n"
      f"  open({saved!r}, 'w').close()\n"
      "  signal.signal(signal.SIGINT, signal.SIG_DFL)\n"
      "  os.kill(os.getpid(), signal.SIGINT)\n"
    )
    processes = []
    popen = subprocess.Popen

    def start(*arguments, **options):
      processes.append(popen(*arguments, **options))
      return processes[-1]

    def press():  # A terminal sends the signal to both.
      while not os.path.exists(ready):
        time.sleep(0.01)
      os.kill(os.getpid(), signal.SIGINT)
      processes[0].send_signal(signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    before = signal.getsignal(signal.SIGINT)
    with (
      mock.patch.object(run, "PYTHON", sys.executable),
      mock.patch.object(run.subprocess, "Popen", start),
    ):
      status = run.run(["-c", program])
    thread.join()
    self.assertEqual(status, 130)
    self.assertTrue(os.path.exists(saved))
    self.assertEqual(signal.getsignal(signal.SIGINT), before)


if __name__ == "__main__":
  absltest.main()
