import tensorflow as tf

from trainers import errors


class WritingTest(tf.test.TestCase):
  def test_failures_to_write_say_what_to_do(self):
    removed = []
    for error in (
      OSError(28, "No space left on device"),
      tf.errors.ResourceExhaustedError(None, None, "No space left on device"),
    ):
      with (
        self.assertRaisesRegex(
          errors.UserError, "a/b cannot be written: .*No space.*Make room"
        ),
        errors.writing("a/b", on_error=lambda: removed.append(1)),
      ):
        raise error
    self.assertLen(removed, 2)

  def test_others_stay(self):
    with self.assertRaises(KeyError), errors.writing("a/b"):
      raise KeyError


if __name__ == "__main__":
  tf.test.main()
