import json
import os
import pathlib
import sys
import tempfile
import time

from absl.testing import absltest

from benchmarks import training_processes
from trainers.errors import UserError

# Writes a line of metrics.jsonl as trainers do, for every second step.
_TRAINER = """
import json, os, pathlib, sys, time
workdir, seconds = pathlib.Path(sys.argv[1]), float(sys.argv[2])
print("begins", flush=True)
workdir.mkdir()
for step in range(2, 1000, 2):
  time.sleep(2 * seconds)
  cores = sorted(os.sched_getaffinity(0))
  with open(workdir / "metrics.jsonl", "a") as file:
    line = {"step": step, "cores": cores, "pid": os.getpid()}
    file.write(json.dumps(line) + "\\n")
"""
_GOING_ON = """
import os, pathlib, sys, time
pathlib.Path(sys.argv[1]).write_text(f"{os.getpid()}\\n")
time.sleep(60)
"""
_ENDING = """
import pathlib, sys, time
file = pathlib.Path(sys.argv[1])
while not file.exists() or not file.read_text():
  time.sleep(0.02)
print("Error: no such field")
sys.exit(3)
"""


def _lines(workdir):
  text = (pathlib.Path(workdir) / "metrics.jsonl").read_text()
  return [json.loads(line) for line in text.splitlines()]


class RunsTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self._folder = self.enter_context(tempfile.TemporaryDirectory())
    self._core = min(os.sched_getaffinity(0))

  def _start(self, program, *arguments):
    return training_processes.Process(
      [sys.executable, "-c", program, *map(str, arguments)], self._core
    )

  def test_measures_whole_units_of_each_run(self):
    workdirs = [os.path.join(self._folder, name) for name in "ab"]
    processes = [
      self._start(_TRAINER, workdir, seconds)
      for workdir, seconds in zip(workdirs, (0.02, 0.04))
    ]
    cores = os.sched_getaffinity(0)
    with training_processes.running(processes, workdirs, self._folder) as runs:
      runs.wait_for_step(4)
      self.assertGreaterEqual(min(_lines(w)[-1]["step"] for w in workdirs), 4)
      runs.wait_for_line()
      seen = []
      window = runs.measure(6, 2, 0.0, seen.append)
      self.assertEqual(window.steps, 12)
      self.assertEqual(seen, sorted(seen))
      self.assertGreaterEqual(seen[-1], 12)
      self.assertGreater(window.seconds[1], window.seconds[0])
      longer = runs.measure(6, 1, 2 * min(window.seconds))
      self.assertEqual(longer.steps % 6, 0)
      self.assertGreater(longer.steps, 6)
      self.assertGreaterEqual(min(longer.seconds), 2 * min(window.seconds))
    # The processes are dead, and this one has all of its cores again.
    self.assertEqual(os.sched_getaffinity(0), cores)
    for workdir in workdirs:
      line = _lines(workdir)[-1]
      self.assertEqual(line["cores"], [self._core])
      self.assertFalse(os.path.exists(f"/proc/{line['pid']}"))

  def test_a_process_that_ends_is_told_with_what_it_printed(self):
    file = pathlib.Path(self._folder, "pid")
    going_on = self._start(_GOING_ON, file)
    ending = self._start(_ENDING, file)
    with (
      self.assertRaisesRegex(UserError, "(?s)status 3.*no such field"),
      training_processes.running(
        [going_on, ending], [self._folder], self._folder
      ) as runs,
    ):
      runs.wait_for_step(1)
    pid = file.read_text().strip()
    self.assertFalse(os.path.exists(f"/proc/{pid}"))

  def test_a_ctrl_c_of_the_terminal_does_not_reach_them(self):
    # The terminal sends it to the group of this process.
    group = "import os, time; print(os.getpgrp(), flush=True); time.sleep(60)"
    with training_processes.running([self._start(group)], [], self._folder):
      log = pathlib.Path(self._folder, "0.txt")
      while not log.read_text():
        time.sleep(0.02)
      self.assertNotEqual(int(log.read_text()), os.getpgrp())


if __name__ == "__main__":
  absltest.main()
