import json
import os
import tempfile

from absl.testing import absltest
from PIL import Image

from benchmarks import slow_network_cases as cases
from tests.trainers import command_line
from trainers import trainer


def _record(way, rate, *windows):
  names = ("steps", "seconds_per_image", "bytes_per_step")
  return {
    "way": way,
    "rate": rate,
    "windows": [dict(zip(names, window)) for window in windows],
  }


class WaysTest(absltest.TestCase):
  def test_workers_and_runs(self):
    ways = {way.name: way for way in cases.make_ways([30])}
    self.assertLen(ways, 4)
    self.assertEqual(
      {name: (way.workers, way.runs) for name, way in ways.items()},
      {
        cases.ALONE: (1, 1),
        cases.APART: (2, 2),
        cases.SYNCHRONOUS: (2, 1),
        "local steps, k = 30": (2, 1),
      },
    )

  def test_tf_config_names_both_workers(self):
    config = json.loads(cases.tf_config(("192.0.2.1", "192.0.2.2"), 1))
    self.assertEqual(config["task"], {"type": "worker", "index": 1})
    self.assertEqual(
      config["cluster"]["worker"], ["192.0.2.1:12345", "192.0.2.2:12345"]
    )


class ArgumentsTest(absltest.TestCase):
  def _parse(self, way):
    """Returns the flags that the trainer makes of a way's command line."""
    arguments = cases.trainer_arguments(way, "/data", "/run", 16, 8, 5)
    values, rest = command_line.parse(arguments, trainer.define_flags)
    self.assertLen(rest, 1)
    self.assertEqual((values.data_dir, values.workdir), ("/data", "/run"))
    return values

  def test_what_the_trainer_understands(self):
    alone, apart, synchronous, local = map(self._parse, cases.make_ways([30]))
    for values in (alone, apart):
      self.assertEqual(values.strategy, "one_device")
      self.assertEqual(values.config.global_batch_size, 16)
    for values in (synchronous, local):
      self.assertEqual(values.strategy, "multi_worker")
      self.assertEqual(values.config.global_batch_size, 32)
    self.assertIsNone(synchronous.config.lookahead)
    self.assertEqual(local.config.lookahead.sync_period, 30)
    self.assertTrue(local.config.lookahead.local_steps)
    for values in (alone, apart, synchronous, local):
      self.assertEqual(values.config.steps_per_loop, 5)
      self.assertEqual(values.config.model.width, 8)

  def test_images_of_cifars_size(self):
    parent = self.enter_context(tempfile.TemporaryDirectory())
    folder = os.path.join(parent, "images")
    cases.write_images(folder)
    for split in ("train", "validation"):
      self.assertLen(os.listdir(os.path.join(folder, split)), 10)
    image = Image.open(os.path.join(folder, "train", "3", "5.png"))
    self.assertEqual((image.size, image.mode), ((32, 32), "RGB"))


class RowsTest(absltest.TestCase):
  def test_speeds_beside_those_at_the_same_rate(self):
    local, slow = "local steps, k = 5", "100 Mbit/s"
    rows = cases.make_rows(
      [
        _record(cases.APART, None, (40, 0.02, 0)),
        _record(cases.SYNCHRONOUS, "1gbit", (10, 0.025, 45e6)),
        _record(cases.SYNCHRONOUS, "100mbit", (10, 0.1, 45e6)),
        _record(local, "1gbit", (10, 0.0225, 9e6)),
        # Medians of several rounds.
        _record(
          local, "100mbit", (10, 0.04, 8e6), (10, 0.05, 9e6), (20, 0.9, 99e6)
        ),
      ]
    )
    self.assertEqual(
      rows[1:],
      [
        ("none", cases.APART, "50.0", "", "1.00", "", "40"),
        ("1 Gbit/s", cases.SYNCHRONOUS, "40.0", "1.00", "0.80", "45.00", "10"),
        ("1 Gbit/s", local, "44.4", "1.11", "0.89", "9.00", "10"),
        (
          slow,
          cases.SYNCHRONOUS,
          "10.0",
          "1.00",
          "0.20",
          "45.00",
          "10",
        ),
        (slow, local, "20.0", "2.00", "0.40", "9.00", "40"),
      ],
    )
    self.assertLen(set(map(len, rows)), 1)

  def test_what_was_not_measured_is_left_out(self):
    (_, row) = cases.make_rows([_record("local", "1gbit", (10, 0.1, 1e6))])
    self.assertEqual(row, ("1 Gbit/s", "local", "10.0", "", "", "1.00", "10"))


if __name__ == "__main__":
  absltest.main()
