import os

import tensorflow as tf

from experiments import report
from trainers import metrics


def _lines(accuracies):
  return [
    {"epoch": i, "train/loss": 1 - a, "eval/loss": a, "eval/accuracy": a}
    for i, a in enumerate(accuracies, 1)
  ]


class ReportTest(tf.test.TestCase):
  def test_mean_and_deviation_of_final_and_best(self):
    # Finals .90 and .92: mean .91, sample deviation .01414; bests .95 and .93.
    table = report.make_table(
      {"a": [_lines([0.95, 0.90]), _lines([0.93, 0.92])], "b": [_lines([0.5])]}
    )
    rows = [
      [cell.strip() for cell in line.strip("|").split("|")]
      for line in table.splitlines()
    ]
    self.assertEqual(rows[0][:3], ["run", "seeds", "final accuracy"])
    self.assertEqual(
      rows[2],
      ["a", "2", "91.00 ± 1.41 %", "94.00 ± 1.41 %", "0.9100 ± 0.0141"],
    )
    self.assertEqual(rows[3], ["b", "1", "50.00 %", "50.00 %", "0.5000"])

  def test_writes_a_table_and_a_picture(self):
    directory = os.path.join(self.get_temp_dir(), self.id())
    runs = {}
    for name in ("a", "b"):
      workdir = os.path.join(directory, name)
      os.makedirs(workdir)
      writer = metrics.MetricsWriter(workdir)
      for line in _lines([0.5, 0.7]):
        writer.write(int(line["epoch"]), line.pop("epoch"), line)
      writer.close()
      runs[name] = [workdir]
    report.write(runs, directory)
    with open(os.path.join(directory, "results.md")) as file:
      self.assertIn("70.00 %", file.read())
    image = tf.io.decode_png(
      tf.io.read_file(os.path.join(directory, "curves.png"))
    )
    # Both curves are drawn, each in its color of matplotlib's cycle.
    pixels = {tuple(p) for p in image.numpy()[..., :3].reshape(-1, 3)}
    self.assertIn((0x1F, 0x77, 0xB4), pixels)
    self.assertIn((0xFF, 0x7F, 0x0E), pixels)


if __name__ == "__main__":
  tf.test.main()
