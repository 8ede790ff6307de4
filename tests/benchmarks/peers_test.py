import os
import pathlib
import shutil
import sys
from unittest import mock

import tensorflow as tf

from benchmarks import peers

_ARGUMENTS = {"warmup_steps": 2, "shapes": [(2, 3), (3,)], "inner": "sgd"}

# Answers as peer_worker.py does, without a library.
_WORKER = """
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
    worker = pathlib.Path(self.get_temp_dir()) / "worker.py"
    worker.write_text(_WORKER)
    with (
      mock.patch.object(peers, "_WORKER", worker),
      peers.Peer(sys.executable, "optax", **_ARGUMENTS) as peer,
    ):
      self.assertEqual(peer.versions, {"optax": "1"})
      self.assertEqual(peer.run("bare", 10), 10)
      self.assertEqual(peer.run("lookahead", 10), 20)
      with self.assertRaisesRegex(peers.NotMeasured, "ended with status 3"):
        peer.run("bare", 0)

  def test_says_why_a_peer_is_not_measured(self):
    with self.assertRaisesRegex(peers.NotMeasured, "^KeyError: 'unheard_of'$"):
      peers.Peer(sys.executable, "unheard_of", **_ARGUMENTS)
    with self.assertRaisesRegex(peers.NotMeasured, "ended with status 1"):
      peers.Peer(shutil.which("false"), "optax", **_ARGUMENTS)


if __name__ == "__main__":
  tf.test.main()
