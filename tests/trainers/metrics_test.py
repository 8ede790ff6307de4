import glob
import os

import tensorflow as tf

from trainers import metrics


class MetricsTest(tf.test.TestCase):
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
