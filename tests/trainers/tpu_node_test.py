import tensorflow as tf
from absl.testing import parameterized

from trainers import tpu_node
from trainers.errors import UserError


class TpuNodeTest(tf.test.TestCase, parameterized.TestCase):
  def test_no_tpu_here(self):
    # What TensorFlow says differs between its builds; the advice is in each.
    with self.assertRaisesRegex(
      UserError, "requirements-tpu.txt|This machine has no TPU"
    ):
      tpu_node.connect("local")

  def test_a_name_that_cannot_be_looked_up(self):
    with self.assertRaisesRegex(
      UserError, "--tpu=no-such-node cannot be (looked up|reached)"
    ):
      tpu_node.connect("no-such-node", "us-central1-b", "no-such-project")

  @parameterized.parameters(
    (
      "local",
      "No OpKernel was registered to support Op 'ConfigureDistributedTPU'",
      "build without TPU kernels: install requirements-tpu.txt",
    ),
    (
      "local",
      "RET_CHECK failure (x.cc:1) *platform",
      "This machine has no TPU",
    ),
    ("local", "The TPU is already in use by pid 7", "Another process.* pid 7"),
    ("n", "please install cloud-tpu-client", "--tpu=grpc://IP:8470"),
    ("n", "404 Not found: n", "--tpu=n cannot be reached.*404 Not found"),
  )
  def test_each_error_is_a_sentence_with_advice(self, tpu, text, message):
    self.assertRegex(tpu_node.explain(tpu, RuntimeError(text)), message)

  def test_paths_that_the_hosts_cannot_see(self):
    tpu_node.check_paths("local", workdir="/tmp/run")
    tpu_node.check_paths("node", workdir="gs://b/run", data_dir=None)
    with self.assertRaisesRegex(UserError, "--workdir=/tmp/run is on this"):
      tpu_node.check_paths("node", workdir="/tmp/run")


if __name__ == "__main__":
  tf.test.main()
