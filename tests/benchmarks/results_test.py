import json
import os

import tensorflow as tf

from benchmarks import results


class ResultsTest(tf.test.TestCase):
  def test_writes_what_was_measured_and_where(self):
    directory = os.path.join(self.get_temp_dir(), self.id())
    run = results.describe_run("benchmarks.test", ["keras"])
    table = results.make_table([("a", "b"), ("long", "1")])
    self.assertEqual(table, "| a    | b |\n| ---- | - |\n| long | 1 |\n")
    results.write(directory, run, table, {"time": [1.0]})
    with open(os.path.join(directory, "results.json")) as file:
      written = json.load(file)
    self.assertEqual(written["time"], [1.0])
    self.assertIn("keras", written["versions"])
    with open(os.path.join(directory, "table.md")) as file:
      text = file.read()
    self.assertStartsWith(text, table)
    for part in (run["command"], run["date"], run["machine"]):
      self.assertIn(part, text)


if __name__ == "__main__":
  tf.test.main()
