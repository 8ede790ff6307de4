import json
import os
import pathlib
import subprocess
import sys

from absl.testing import absltest

_ROOT = str(pathlib.Path(__file__).resolve().parents[3])

# A program with a --config, started several times.
_SCRIPT = """
import json, sys
from benchmarks.harness import program
from trainers.errors import UserError

program.define_config("Experiment.")

def main():
  if program.ROUNDS.value == 7:
    raise UserError("too many rounds")
  print(program.ROUNDS.value, "rounds")

for arguments in json.loads(sys.argv[1]):
  sys.argv = ["program", *arguments]
  try:
    program.run(main)
  except SystemExit as end:
    print(end)
"""


class RunTest(absltest.TestCase):
  def test_a_mistake_is_one_sentence(self):
    config = "--config=configs/translation.py"
    commands = (
      ["--rounds=3"],
      ["more"],
      [config, "--config.num_stesp=3"],
      ["--rounds=7"],
      ["--config=configs/none.py"],
      ["--config=configs/digits.py:adamw"],
    )
    output = subprocess.run(
      [sys.executable, "-c", _SCRIPT, json.dumps(commands)],
      cwd=_ROOT,
      env={**os.environ, "PYTHONPATH": _ROOT},
      check=True,
      stdout=subprocess.PIPE,
      text=True,
    ).stdout
    works, *mistakes = filter(None, output.splitlines())
    self.assertEqual(works, "3 rounds")
    named = (
      "'more'",
      "'num_stesp'",
      "too many rounds",
      "configs/none.py",
      "'adamw'",
    )
    self.assertLen(mistakes, len(named))
    for mistake, name in zip(mistakes, named):
      self.assertRegex(mistake, f"^Error: .*{name}")


if __name__ == "__main__":
  absltest.main()
