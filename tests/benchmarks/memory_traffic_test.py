import tensorflow as tf

from benchmarks import memory_traffic


class BoundTest(tf.test.TestCase):
  def test_by_hand(self):
    for inner, k, way, expected in (
      ("sgd", 5, "separate pass", 1.16),
      ("sgd", 5, "fused pass", 1.08),
      ("sgd", 10, "separate pass", 1.08),
      ("adam", 5, "separate pass", 1 + 4 / 35),
      ("adam", 10, "fused pass", 1 + 2 / 70),
    ):
      self.assertAlmostEqual(memory_traffic.bound(inner, k, way), expected)


if __name__ == "__main__":
  tf.test.main()
