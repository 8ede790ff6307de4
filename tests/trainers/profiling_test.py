import tensorflow as tf
from absl.testing import parameterized

from trainers import profiling
from trainers.errors import UserError


class ParseTest(tf.test.TestCase, parameterized.TestCase):
  def test_steps(self):
    self.assertIsNone(profiling.parse_steps(None))
    self.assertEqual(profiling.parse_steps("100-110"), (100, 110))
    self.assertEqual(profiling.parse_steps("1-1"), (1, 1))

  @parameterized.parameters("", "5", "0-3", "7-5", "a-b", "1-2-3")
  def test_mistakes(self, text):
    with self.assertRaisesRegex(UserError, f"such as 100-110.*{text!r}"):
      profiling.parse_steps(text)


if __name__ == "__main__":
  tf.test.main()
