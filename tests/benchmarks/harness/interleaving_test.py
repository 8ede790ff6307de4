import functools
import itertools
import os
import subprocess
import sys
import time
from unittest import mock

import numpy as np
import tensorflow as tf

from benchmarks.harness import interleaving


class InterleavingTest(tf.test.TestCase):
  def test_variants_take_turns_and_none_is_always_the_first(self):
    calls = []

    def unit(name):
      calls.append(name)
      return len(calls)

    units = {name: functools.partial(unit, name) for name in "abc"}
    measurement = interleaving.measure(
      {"pair": {"a": units["a"], "b": units["b"]}, "one": {"c": units["c"]}},
      rounds=3,
      description="test",
      patience=0,
    )
    self.assertEqual("".join(calls), "abc" + "cba" + "abc")
    self.assertEqual(
      measurement.seconds,
      {"pair": {"a": [1, 6, 7], "b": [2, 5, 8]}, "one": {"c": [3, 4, 9]}},
    )

  def _measure(self, patience):
    """Returns (the result that counts, disturbed, number of calls)."""
    unit = mock.Mock(side_effect=range(1000))
    with mock.patch.object(interleaving.time, "sleep"):
      measurement = interleaving.measure(
        {"g": {"a": unit}}, 1, "test", patience
      )
    ((result,),) = measurement.seconds["g"].values()
    return result, measurement.disturbed["g"], unit.call_count

  def test_measures_again_when_others_are_quiet(self):
    # Others' seconds before and after a look at the machine, before and after
    # a measurement, and so on: busy, quiet and disturbed, quiet throughout.
    others = mock.Mock(side_effect=[0, 9, 9, 9, 9, 18, 18, 18, 18, 18])
    with mock.patch.object(interleaving, "_seconds_of_others", others):
      self.assertEqual(self._measure(patience=60), (1, 0, 2))
    self.assertEqual(others.call_count, 10)

  def test_without_patience_disturbed_measurements_count(self):
    others = mock.Mock(side_effect=itertools.count(0, 9))
    with mock.patch.object(interleaving, "_seconds_of_others", others):
      self.assertEqual(self._measure(patience=0), (0, 1, 1))

  def test_own_work_and_childrens_is_not_that_of_others(self):
    def busy_seconds():
      with open("/proc/stat") as file:
        ticks = [int(field) for field in file.readline().split()[1:9]]
      return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")

    busy, others = busy_seconds(), interleaving._seconds_of_others()
    work = "import time\nwhile time.process_time() < 0.5: pass\n"
    with subprocess.Popen(
      [sys.executable, "-c", work + "print(flush=True)\ninput()"],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
    ) as child:
      end = time.process_time() + 0.4
      while time.process_time() < end:
        pass
      child.stdout.readline()  # It has done its work.
      busy = busy_seconds() - busy
      others = interleaving._seconds_of_others() - others
      child.communicate(b"\n")
    self.assertAllClose(busy - others, 0.9, atol=0.15)

  def test_ratios_are_taken_round_by_round(self):
    # The machine slows down threefold; the ratios of rounds are 1.2, 1.1, 1.3.
    ratio = interleaving.compare([1.2, 2.2, 3.9], [1.0, 2.0, 3.0])
    self.assertAllClose(
      [ratio.median, ratio.least, ratio.greatest], [1.2, 1.1, 1.3]
    )
    self.assertEqual(
      ratio.cells(),
      ("1.200", "1.100 to 1.300 (all 3 rounds)", "1.100 to 1.300"),
    )

  def test_speeds_beside_references(self):
    # Speeds are 2, 4, 2 of "a" and 1, 1, 1 of "b": ratios of rounds 2, 4, 2.
    head, a, b = interleaving.compare_speeds(
      {"a": [0.5, 0.25, 0.5], "b": [1.0, 1.0, 1.0]}, "images", ["b", "c"]
    )
    self.assertEqual(
      head,
      ("", "images/s, median", "least to greatest", "times b", "95 % interval"),
    )
    interval = "2.000 to 4.000 (all 3 rounds)"
    self.assertEqual(a, ("a", "2.0", "2.0 to 4.0", "2.000", interval))
    self.assertEqual(b, ("b", "1.0", "1.0 to 1.0", "", ""))

  def test_interval_of_the_median_is_that_of_the_tables(self):
    # Conover, Practical Nonparametric Statistics: the ranks of the 95 %
    # interval of a median for samples of these sizes.
    for size, ranks in (
      (5, (1, 5)),
      (6, (1, 6)),
      (9, (2, 8)),
      (10, (2, 9)),
      (20, (6, 15)),
      (30, (10, 21)),
    ):
      values = np.random.default_rng(0).permutation(np.arange(1, size + 1))
      ratio = interleaving.compare(values, np.ones(size))
      self.assertEqual((ratio.low, ratio.high), ranks)


if __name__ == "__main__":
  tf.test.main()
