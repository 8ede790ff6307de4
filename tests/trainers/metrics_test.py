import glob
import os

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from tests import replicas
from trainers import metrics

# Two batches of four for each replica in turn; the last two only fill up.
_LOSSES = np.array([3, 1, 4, 1, 5, 9, 100, 100], "float32")
_CORRECT = np.array([1, 0, 0, 1, 1, 1, 1, 1], "float32")
_WEIGHTS = np.array([1, 1, 1, 1, 1, 1, 0, 0], "float32")


class MeansTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.parameters(1, 2)
  def test_means_over_what_has_a_weight(self, count):
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    if count == 2:
      strategy = replicas.mirrored()
    examples = tf.data.Dataset.from_tensor_slices(
      {"loss": _LOSSES, "correct": _CORRECT, "weight": _WEIGHTS}
    )
    batches = strategy.distribute_datasets_from_function(
      lambda context: examples.batch(4 // count)
    )
    means = metrics.make_means(
      lambda batch: (batch["loss"], batch["correct"], batch["weight"]),
      batches,
      strategy,
      jit_compile=False,
    )
    for _ in range(2):
      self.assertAllClose(means(), {"loss": 23 / 6, "accuracy": 4 / 6})


class WriterTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.workdir = os.path.join(self.get_temp_dir(), self.id())
    os.makedirs(self.workdir)

  def _write(self, steps, from_step=0):
    writer = metrics.MetricsWriter(self.workdir, from_step)
    for step in steps:
      writer.write(step, step / 4, {"train/loss": 1.0 / step})
    writer.close()

  def test_lines(self):
    self._write([2, 4])
    self.assertEqual(
      metrics.read(self.workdir),
      [
        {"step": 2, "epoch": 0.5, "train/loss": 0.5},
        {"step": 4, "epoch": 1.0, "train/loss": 0.25},
      ],
    )

  def test_resuming_leaves_no_line_twice_and_none_torn(self):
    self._write([2, 4, 6])
    with open(os.path.join(self.workdir, "metrics.jsonl"), "a") as file:
      file.write('{"step": 8, "epo')
    self._write([6, 8], from_step=4)
    steps = [line["step"] for line in metrics.read(self.workdir)]
    self.assertEqual(steps, [2, 4, 6, 8])

  def test_tensorboard_events(self):
    self._write([2, 4])
    (path,) = glob.glob(os.path.join(self.workdir, "events", "*"))
    values = [
      (event.step, value.tag, float(tf.make_ndarray(value.tensor)))
      for event in tf.compat.v1.train.summary_iterator(path)
      for value in event.summary.value
    ]
    self.assertEqual(values, [(2, "train/loss", 0.5), (4, "train/loss", 0.25)])


if __name__ == "__main__":
  tf.test.main()
