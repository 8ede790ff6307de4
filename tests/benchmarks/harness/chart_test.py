"""benchmarks/harness/chart.py: charts that a phone can show."""

import os
import struct
import tempfile

from absl.testing import absltest

from benchmarks.harness import chart
from benchmarks.harness.interleaving import Ratio


class ChartTest(absltest.TestCase):
  def _size(self, draw, panels, *arguments):
    """Returns (width, height) in pixels, as the header of the PNG has them."""
    with tempfile.TemporaryDirectory() as directory:
      path = os.path.join(directory, "chart.png")
      draw(panels, path, *arguments)
      with open(path, "rb") as file:
        return struct.unpack(">II", file.read(24)[16:])

  def assertHasTheWidthOfOnePanel(self, draw, panel, *arguments):
    one = self._size(draw, {"one": panel}, *arguments)
    four = self._size(draw, dict.fromkeys("abcd", panel), *arguments)
    self.assertEqual(one[0], four[0])
    self.assertLessEqual(four[0], 720)
    self.assertGreater(four[1], 2 * one[1])

  def test_ratios_one_above_the_other(self):
    ratio = Ratio(1.1, 1.0, 1.2, 0.9, 1.3, rounds=8)
    beyond = Ratio(6.0, 5.0, 7.0, 5.0, 7.0, rounds=8)
    rows = {"ours": ratio, "ours, too": ratio, "a library's": beyond}
    groups = [
      chart.Group("k = 5", rows, {"bound": 1.2}),
      chart.Group("k = 10", {"ours": ratio}, {"bound": 1.1}),
    ]
    self.assertHasTheWidthOfOnePanel(chart.draw_ratios, groups, "ratio", 1.3)

  def test_speeds_one_above_the_other(self):
    seconds = {"ours": [0.1, 0.2], "a library's with a long name": [0.3, 0.3]}
    self.assertHasTheWidthOfOnePanel(chart.draw_speeds, seconds, ["ours"])


if __name__ == "__main__":
  absltest.main()
