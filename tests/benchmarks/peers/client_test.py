import os
import pathlib
import shutil
import subprocess
import sys
from unittest import mock

import tensorflow as tf
from absl import flags
from absl.testing import flagsaver

from benchmarks.peers import client

_ARGUMENTS = {"warmup_steps": 2, "shapes": [(2, 3), (3,)], "inner": "sgd"}

# Answers as server.py does, without a library.
_SERVER = """
import json, sys
first = json.loads(sys.stdin.readline())
assert first == {"peer": "optax", "warmup_steps": 2,
                 "arguments": {"shapes": [[2, 3], [3]], "inner": "sgd"}}
print(json.dumps({"versions": {"optax": "1"}}), flush=True)
for line in sys.stdin:
  request = json.loads(line)
  if request["steps"] == 0:
    sys.exit(3)
  seconds = request["steps"] * {"bare": 1, "lookahead": 2}[request["which"]]
  print(json.dumps({"seconds": seconds}), flush=True)
"""


class PeerTest(tf.test.TestCase):
  def test_runs_in_another_process(self):
    os.makedirs(self.get_temp_dir(), exist_ok=True)
    server = pathlib.Path(self.get_temp_dir()) / "server.py"
    server.write_text(_SERVER)
    with (
      mock.patch.object(client, "_SERVER", server),
      client.Peer(sys.executable, "optax", **_ARGUMENTS) as peer,
    ):
      self.assertEqual(peer.versions, {"optax": "1"})
      self.assertEqual(peer.run("bare", 10), 10)
      self.assertEqual(peer.run("lookahead", 10), 20)
      with self.assertRaisesRegex(client.NotMeasured, "ended with status 3"):
        peer.run("bare", 0)

  def test_says_why_a_peer_is_not_measured(self):
    with self.assertRaisesRegex(client.NotMeasured, "^KeyError: 'unheard_of'$"):
      client.Peer(sys.executable, "unheard_of", **_ARGUMENTS)
    with self.assertRaisesRegex(client.NotMeasured, "ended with status 1"):
      client.Peer(shutil.which("false"), "optax", **_ARGUMENTS)

  def test_peers_that_are_not_measured_are_reported(self):
    with client.Peers(shutil.which("false")) as peers:
      self.assertIsNone(peers.start("Optax", "optax", **_ARGUMENTS))
    self.assertRegex(
      client.describe_not_measured([{"not_measured": peers.not_measured}]),
      "^\nOptax: not measured: .*status 1\n$",
    )
    self.assertEmpty(client.describe_not_measured([{"not_measured": {}}]))

  def test_without_an_interpreter_there_is_no_peer(self):
    with client.Peers(None) as peers:
      self.assertIsNone(peers.start("Optax", "optax", **_ARGUMENTS))
    self.assertEmpty(peers.not_measured)


class FindInterpreterTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    if not flags.FLAGS.is_parsed():  # By pytest they are not.
      flags.FLAGS.mark_as_parsed()
    folder = pathlib.Path(self.get_temp_dir()) / self.id()
    self.enter_context(mock.patch.dict(os.environ, XDG_CACHE_HOME=str(folder)))
    self.create = self.enter_context(
      mock.patch.object(
        client.venv,
        "create",
        side_effect=lambda path, with_pip: os.makedirs(path, exist_ok=True),
      )
    )
    self.run = self.enter_context(mock.patch.object(client.subprocess, "run"))

  def test_installs_once_for_each_list_of_requirements(self):
    with flagsaver.flagsaver(peers=True):
      python = client.find_interpreter()
      self.assertEqual(client.find_interpreter(), python)
      self.assertEqual(self.run.call_count, 1)
      self.assertEqual(str(self.run.call_args.args[0][0]), python)
      requirements = pathlib.Path(self.get_temp_dir()) / "requirements.txt"
      requirements.write_text("other==1\n")
      with mock.patch.object(client, "_REQUIREMENTS", requirements):
        self.assertNotEqual(client.find_interpreter(), python)
    self.assertEqual(self.run.call_count, 2)

  def test_a_failed_installation_is_tried_again(self):
    self.run.side_effect = subprocess.CalledProcessError(1, "pip")
    with (
      flagsaver.flagsaver(peers=True),
      self.assertRaisesRegex(SystemExit, "--peers: .* exit status 1"),
    ):
      client.find_interpreter()
    self.run.side_effect = None
    with flagsaver.flagsaver(peers=True):
      client.find_interpreter()
    self.assertEqual(self.run.call_count, 2)

  def test_no_installation_without_the_flag_or_with_an_interpreter(self):
    self.assertIsNone(client.find_interpreter())
    with flagsaver.flagsaver(peers=True, peers_python=sys.executable):
      self.assertEqual(client.find_interpreter(), sys.executable)
    self.create.assert_not_called()
    with self.assertRaisesRegex(flags.IllegalFlagValueError, "peers_python"):
      flags.FLAGS.peers_python = "/no/such/python"


if __name__ == "__main__":
  tf.test.main()
