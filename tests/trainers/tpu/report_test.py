import dataclasses
import math

from absl.testing import absltest

from trainers.tpu import report
from trainers.tpu.chips import Cost
from trainers.tpu.report import Failure, Result

_MIB = 2**20
# 246 GFLOP take a v3 core 4 ms, 0.9 GB take its memory 2 ms.
_STEP = Cost(3 * _MIB, 2 * _MIB, 6 * _MIB, 246e9, 0.9e9)
_INNER = Cost(2 * _MIB, 2 * _MIB, 5 * _MIB, 245e9, 0.8e9)


def _cells(text):
  """Returns the rows of a Markdown table: lists of cells."""
  return [
    [cell.strip() for cell in line.split("|")[1:-1]]
    for line in text.splitlines()
    if line.startswith("|")
  ]


def _rows(*results, unit="examples"):
  table = report.Table(128, unit)
  return _cells("".join(map(table.add, results)))


class ReportTest(absltest.TestCase):
  def test_costs_and_what_lookahead_adds(self):
    head, line, ours, added = _rows(
      Result("v3-8", 8, _STEP), Result("v3-8", 8, _STEP, _INNER)
    )
    self.assertEqual(head[:2], ["slice", "devices"])
    self.assertEqual(line[:2], ["-------", "-------"])
    self.assertEqual(ours[:4], ["v3-8", "8", "training", "compiles"])
    self.assertEqual(ours[4:8], ["3.0", "2.0", "6.0", "15,852"])
    self.assertEqual(ours[8:], ["246.000", "0.900", "4.000", "32,000"])
    self.assertEqual(added[2], "Lookahead adds")
    self.assertEqual(added[4:7], ["+1.0", "+0.0", "+1.0"])
    self.assertEqual(added[8:10], ["+1.000", "+0.100"])

  def test_what_is_counted_has_a_name(self):
    head, *_ = _rows(Result("v3-8", 8, _STEP), unit="tokens")
    self.assertEqual(head[-1], "tokens/s, at most")

  def test_the_lines_of_a_table_are_of_one_length(self):
    table = report.Table(128)
    text = "".join(
      table.add(result)
      for result in (
        Result("v2-8", 8, _STEP),
        Result("v2-8", 8, _STEP, _INNER),
        Result("v5p-8", 4, Failure("a", is_mistake=True)),
        Result("v4-8", 4, Failure("a")),
      )
    )
    self.assertLen({len(line) for line in text.splitlines()}, 1)

  def test_what_the_compiler_does_not_say_is_unknown(self):
    step = dataclasses.replace(_STEP, flop=math.nan, accessed=math.nan)
    *_, ours, added = _rows(
      Result("v3-8", 8, step), Result("v3-8", 8, step, _INNER)
    )
    self.assertEqual(ours[3:8], ["compiles", "3.0", "2.0", "6.0", "15,852"])
    self.assertEqual(ours[8:], ["unknown"] * 4)
    self.assertEqual(added[8:10], ["unknown"] * 2)

  def test_verdicts(self):
    full = Cost(0, 0, 9 * 2**30, 1.0, 1.0)
    for name, step, verdict in (
      ("v3-8", full, "compiles"),
      ("v2-8", full, "does not fit"),
      ("v2-8", Failure("RESOURCE_EXHAUSTED: Ran out of mem"), "does not fit"),
      ("v2-8", Failure("UNIMPLEMENTED: no such thing"), "does not compile"),
      ("v2-8", Failure("batch of 7", is_mistake=True), "cannot be made"),
    ):
      self.assertEqual(Result(name, 8, step).verdict(), verdict)

  def test_errors_are_a_line_each(self):
    error = Failure("INTERNAL: a\n  long " + "story " * 100)
    results = [Result("v4-8", 4, error), Result("v3-8", 8, _STEP, error)]
    self.assertEqual(_rows(results[0])[-1][3], "does not compile")
    self.assertEqual(_rows(results[1])[-1][3], "unknown")
    *_, first, second = report.format_notes(results).splitlines()
    self.assertStartsWith(first, "v4-8: INTERNAL: a long story")
    self.assertStartsWith(second, "v3-8 without Lookahead: INTERNAL: a long")
    self.assertLess(max(len(first), len(second)), 340)


if __name__ == "__main__":
  absltest.main()
