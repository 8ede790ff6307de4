import tensorflow as tf
from absl.testing import parameterized

from trainers.errors import UserError
from trainers.translation import checks


class CountRowsTest(tf.test.TestCase, parameterized.TestCase):
  def test_right(self):
    self.assertEqual(checks.count_rows(16_384, 256, 8), 64)
    self.assertEqual(checks.count_rows(64, 64, 1), 1)

  @parameterized.parameters(
    (16_384, 250, 8, "multiple of 2000.* 16000 or 18000"),
    (512, 256, 8, "multiple of 2048.* replicas. 2048 would do"),
    (256 * 12, 256, 8, "2048 or 4096"),
    (0, 64, 1, "64 would do"),
  )
  def test_wrong(self, tokens, length, replicas, message):
    with self.assertRaisesRegex(UserError, message):
      checks.count_rows(tokens, length, replicas)


if __name__ == "__main__":
  tf.test.main()
