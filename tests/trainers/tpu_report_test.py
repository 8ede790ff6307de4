from absl.testing import absltest

from trainers import tpu_report
from trainers.tpu_chips import Cost
from trainers.tpu_report import Result

_MIB = 2**20
# 246 GFLOP take a v3 core 4 ms, 0.9 GB take its memory 2 ms.
_STEP = Cost(3 * _MIB, 2 * _MIB, 6 * _MIB, 246e9, 0.9e9, 2)
_INNER = Cost(2 * _MIB, 2 * _MIB, 5 * _MIB, 245e9, 0.8e9, 1)


def _cells(text):
  """Returns the rows of a Markdown table: lists of cells."""
  return [
    [cell.strip() for cell in line.split("|")[1:-1]]
    for line in text.splitlines()
    if line.startswith("|")
  ]


class TpuReportTest(absltest.TestCase):
  def test_costs_and_what_lookahead_adds(self):
    text = tpu_report.format_results([Result("v3-8", 8, _STEP, _INNER)], 128)
    _, _, ours, added = _cells(text)
    self.assertEqual(ours[:4], ["v3-8", "8", "training", "compiles"])
    self.assertEqual(ours[4:8], ["3.0", "2.0", "6.0", "15,852"])
    self.assertEqual(ours[8:], ["246.000", "0.900", "4.000", "32,000"])
    self.assertEqual(added[2], "Lookahead adds")
    self.assertEqual(added[4:7], ["+1.0", "+0.0", "+1.0"])
    self.assertEqual(added[8:10], ["+1.000", "+0.100"])

  def test_no_lookahead_no_line(self):
    text = tpu_report.format_results([Result("v3-8", 8, _STEP)], 128)
    self.assertLen(_cells(text), 3)

  def test_what_is_counted_has_a_name(self):
    text = tpu_report.format_results([Result("v3-8", 8, _STEP)], 128, "tokens")
    self.assertEqual(_cells(text)[0][-1], "tokens/s, at most")

  def test_verdicts(self):
    full = Cost(0, 0, 9 * 2**30, 1.0, 1.0, 0)
    for name, step, verdict in (
      ("v3-8", full, "compiles"),
      ("v2-8", full, "does not fit"),
      ("v2-8", "RESOURCE_EXHAUSTED: Ran out of memory", "does not fit"),
      ("v2-8", "UNIMPLEMENTED: no such thing", "does not compile"),
    ):
      self.assertEqual(Result(name, 8, step).verdict(), verdict)

  def test_errors_are_a_line_each(self):
    error = "INTERNAL: a\n  long " + "story " * 100
    text = tpu_report.format_results([Result("v4-8", 4, error, error)], 128)
    self.assertEqual(_cells(text)[2][3], "does not compile")
    self.assertEqual(_cells(text)[3][3], "unknown")
    last = text.splitlines()[-1]
    self.assertStartsWith(last, "v4-8: INTERNAL: a long story")
    self.assertLess(len(last), 320)


if __name__ == "__main__":
  absltest.main()
