import os
import pathlib
import shutil
import sys
from unittest import mock

import tensorflow as tf

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


if __name__ == "__main__":
  tf.test.main()
